target "app" {
  name = "app-${n}-${b}"
  matrix = { n = [1, 2], b = [true, false] }
  args = { N = n, B = b ? "on" : "off" }
}
