target "a" {
  tags = ["a"]
  platforms = ["linux/amd64"]
  cache-from = ["c"]
}
target "b" {
  inherits = ["a"]
  no-cache-filter = ["old"]
}
