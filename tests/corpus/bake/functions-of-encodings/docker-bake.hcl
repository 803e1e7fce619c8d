target "default" {
  args = {
    a = base64encode("héllo")
    b = base64decode("aGk=")
    c = md5("a")
    d = sha256("")
    e = jsonencode({a=[1,null,true,"<&>"]})
    f = jsondecode("{\"a\":[1,2]}").a[1]
    g = csvdecode("a,b\n1,2\n")[0].b
    h = uuidv5("dns", "example.com")
    i = cidrhost("10.0.0.0/8", 5)
    j = cidrsubnet("10.0.0.0/8", 8, 2)
    k = cidrnetmask("10.0.0.0/9")
    l = basename("/a/b.c")
    m = dirname("/a/b.c")
  }
}
