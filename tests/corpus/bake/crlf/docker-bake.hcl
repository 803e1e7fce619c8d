target "default" {
  tags = ["a"]
  args = {
    A = "1"
  }
}
