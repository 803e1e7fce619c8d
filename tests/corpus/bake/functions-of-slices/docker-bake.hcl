target "default" {
  args = {
    a = join(",", slice(["a","b","c"], 1, 3))
    b = join(",", slice(["a"], 0, 0))
    c = substr("hello", -3, 2)
    d = substr("hello", 1, -1)
    e = substr("héllo", 1, 3)
    f = join("|", chunklist(["a","b","c"], 2)[0])
    g = element(["a","b","c"], 4)
    h = index(["a","b"], 1)
  }
}
