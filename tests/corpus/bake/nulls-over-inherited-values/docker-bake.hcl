target "base" {
  args = { A = "a", B = "b" }
  tags = ["x:1"]
  target = "final"
}
target "default" {
  inherits = ["base"]
  args = { A = null }
  tags = null
  target = null
}
