target "base" {
  name = "base-${os}"
  matrix = { os = ["a", "b"] }
  tags = ["base:${os}"]
}
target "default" {
  args = { A = target.base-a.tags[0] }
}
