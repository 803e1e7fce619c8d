target "default" {
  args = {
    a = format("%05d|%-5s|%+.2f", 42, "x", 1.5)
    b = format("%v %v", true, 12)
    c = format("%#x %o %b", 255, 8, 5)
    d = formatdate("YYYY-MM-DD'T'hh:mm:ss", "2020-02-03T04:05:06Z")
    e = format("%%")
    f = format("%[2]s %[1]s", "a", "b")
    g = format("%3s|%-3s|%.1s", "a", "b", "cd")
    h = format("%t %q", false, "q")
  }
}
