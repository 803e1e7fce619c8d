target "a" {
  args = { X = "a", Y = "a" }
  dockerfile = "a.Dockerfile"
  cache-from = ["one", "two"]
  entitlements = ["network.host"]
}
target "b" {
  args = { X = "b" }
  cache-from = ["two", "three"]
  no-cache-filter = ["x"]
}
target "default" {
  inherits = ["a", "b"]
  no-cache-filter = ["y", "x"]
}
