target "base" { output = ["type=docker"] }
target "default" { contexts = { base = "target:base" } }
