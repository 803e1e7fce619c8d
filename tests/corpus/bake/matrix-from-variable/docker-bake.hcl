variable "VERSIONS" {
  type = list(string)
  default = ["1"]
}
target "default" {
  name = "app-${replace(v, ".", "-")}"
  matrix = { v = VERSIONS }
  args = { V = v }
}
