target "default" {
  tags = ["a:1", "b:1"]
  platforms = ["linux/amd64"]
}
