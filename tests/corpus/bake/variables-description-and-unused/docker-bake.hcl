variable "A" {
  description = "what it is"
  default = "a"
}
variable "UNUSED" { default = upper("x") }
target "default" { args = { A = A } }
