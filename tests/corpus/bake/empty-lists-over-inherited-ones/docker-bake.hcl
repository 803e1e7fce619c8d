target "base" {
  tags = ["x:1"]
  platforms = ["linux/amd64"]
  output = ["type=docker"]
  cache-from = ["a"]
}
target "default" {
  inherits = ["base"]
  tags = []
  platforms = []
  output = []
  cache-from = []
}
