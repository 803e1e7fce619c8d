variable "A" { default = "a" }
variable "N" { default = 1 }
variable "B" { default = true }
variable "E" {}
target "default" {
  args = { A = A, N = N + 1, B = B ? "yes" : "no", E = "<${E}>" }
}
