target "default" {
  args = { A = "a", B = "b" }
  no-cache = false
}
