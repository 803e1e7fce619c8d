target "_base" {
  args   = { A = "base", B = "base" }
  labels = { l = "base" }
  tags   = ["base"]
  platforms = ["linux/amd64"]
}
target "_go" {
  inherits = ["_base"]
  args = { B = "go", C = null }
}
target "default" {
  inherits = ["_go"]
  args = { D = "own" }
  tags = ["own"]
}
