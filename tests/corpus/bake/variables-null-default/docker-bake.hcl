variable "A" { default = null }
target "default" {
  args = { A = A, B = "b" }
  dockerfile = A
}
