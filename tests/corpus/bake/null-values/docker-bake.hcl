target "base" { args = { A = "a" } }
target "default" {
  inherits = ["base"]
  args = { A = null, B = null }
  labels = { l = null }
  tags = null
  context = null
  pull = null
  contexts = null
}
