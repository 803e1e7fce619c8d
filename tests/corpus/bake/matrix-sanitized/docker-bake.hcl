target "default" {
  name = sanitize("app-${v}")
  matrix = { v = ["1.2", "1.3+x"] }
  args = { V = v }
}
