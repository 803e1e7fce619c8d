target "default" {
  args = {
    a = join(",", keys({b=1, a=2}))
    b = join(",", values({b="x", a="y"}))
    c = lookup({a="1"}, "b", "none")
    d = jsonencode(merge({a=1,b=2}, {b=3}))
    e = jsonencode(zipmap(["a","b"], [1,2]))
    f = hasindex(["a"], 0) ? "yes" : "no"
    g = contains(["a"], "b") ? "yes" : "no"
    h = jsonencode({for k, v in {a=1} : upper(k) => v...})
  }
}
