group "default" { targets = ["app", "tool"] }
target "app" {
  name = "app-${x}"
  matrix = { x = ["a","b"] }
  args = { X = x }
}
target "tool" {
  contexts = { app = "target:app-a" }
}
