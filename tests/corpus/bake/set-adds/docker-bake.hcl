target "default" {
  tags = ["a"]
  annotations = ["a=b"]
}
target "other" {}
