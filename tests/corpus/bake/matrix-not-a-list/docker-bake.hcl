target "default" {
  name = "x${a}"
  matrix = { a = "text" }
}
