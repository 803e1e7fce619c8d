target "a" { cache-from = ["x", "y", "z"] }
target "default" {
  inherits = ["a"]
  cache-from = ["x", "w"]
}
