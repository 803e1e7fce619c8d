target "default" {
  args = {
    a = title("hello big world")
    b = trimprefix("v1.2", "v")
    c = trimsuffix("a.tar", ".tar")
    d = trim("??x!?", "?!")
    e = indent(2, "a\nb")
    f = regex_replace("a1b22", "[0-9]+", "#")
    g = replace("a.b.c", ".", "-")
    h = jsonencode(regex("([a-z])([0-9])", "a1"))
    i = jsonencode(regexall("[0-9]", "a1b2"))
    j = strlen("日本")
    k = reverse("abc")
    l = sanitize("a/b:c.d")
    m = urlencode("a b&c")
    n = chomp("x\r\n\n")
    o = join("|", split(",", ",a,"))
  }
}
