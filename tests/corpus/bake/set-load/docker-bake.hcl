target "a" {}
target "b" { output = ["type=docker"] }
target "c" { output = ["type=image"] }
