group "default" { targets = ["a", "b", "c", "d"] }
target "a" { context = "ctx" }
target "b" {}
target "c" {
  inherits = ["a"]
  contexts = { x = "y", z = "target:b" }
}
