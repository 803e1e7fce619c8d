target "default" {
  name = "default"
  matrix = { n = [1] }
  args = { N = n }
}
