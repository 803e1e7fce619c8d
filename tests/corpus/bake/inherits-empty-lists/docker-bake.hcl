target "a" {
  tags = ["a"]
  platforms = ["linux/amd64"]
  output = ["type=docker"]
}
target "default" {
  inherits = ["a"]
  tags = []
  platforms = []
  output = []
}
