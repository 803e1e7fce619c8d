variable "x" {
  validation { condition = true }}
target "default" {}
