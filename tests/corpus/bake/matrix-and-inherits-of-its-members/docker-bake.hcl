target "base" {
  name = "base-${x}"
  matrix = { x = ["a","b"] }
  args = { X = x, KEEP = "1" }
}
target "app" {
  name = "app-${y}"
  matrix = { y = ["a","b"] }
  inherits = ["base-${y}"]
  args = { Y = y }
}
