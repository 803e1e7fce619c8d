target "base" {
  tags = ["base"]
  output = ["type=docker"]
}
target "middle" {
  contexts = { base = "target:base" }
  entitlements = ["security.insecure"]
}
target "default" {
  contexts = { middle = "target:middle" }
  output = ["type=image"]
}
