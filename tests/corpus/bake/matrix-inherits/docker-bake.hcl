group "default" { targets = ["all"] }
target "base" { tags = ["base"] }
target "all" {
  name = "x${n}"
  matrix = { n = [1, 2] }
  inherits = ["base"]
  contexts = { other = "target:base" }
}
