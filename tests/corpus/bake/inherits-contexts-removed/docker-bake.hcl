target "a" { contexts = { base = "docker-image://alpine", src = "src" } }
target "default" {
  inherits = ["a"]
  contexts = { base = "" }
}
