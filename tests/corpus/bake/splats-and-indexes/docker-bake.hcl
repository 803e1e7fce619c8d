target "default" {
  args = {
    a = join(",", [{n="a"},{n="b"}][*].n)
    b = join(",", [{n="a"}].*.n)
    c = {a={b="deep"}}["a"].b
    d = jsonencode("x"[*])
    e = ["a","b"][length(["a"])]
  }
}
