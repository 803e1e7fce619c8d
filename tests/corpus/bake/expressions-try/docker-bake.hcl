variable "O" { default = { a = 1 } }
target "default" {
  args = {
    a = try(O.b, "fallback")
    b = can(O.a)
    c = try(target.nope.tags[0], "none")
    d = lookup(O, "x", "d")
  }
}
