variable "O" {
  type = object({ name = string, port = number })
  default = { name = "none", port = 0 }
}
variable "L" {
  type = list(string)
}
variable "A" { type = string }
variable "A_JSON" { default = "taken" }
target "default" {
  args = { O = "${O.name}:${O.port + 1}", L = join("-", L), A = A == null ? "null" : A, J = A_JSON }
}
