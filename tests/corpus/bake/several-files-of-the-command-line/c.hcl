target "app" {
  args = { V = V }
  labels = { from = "c" }
}
