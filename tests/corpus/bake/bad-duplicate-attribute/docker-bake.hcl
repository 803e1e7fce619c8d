target "default" {
  tags = ["a"]
  args = {}
  tags = ["b"]
}
