group "default" {
  matrix = { a = ["x"] }
  targets = ["y"]
}
target "y" {}
