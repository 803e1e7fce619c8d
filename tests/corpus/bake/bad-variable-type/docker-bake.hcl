variable "A" { type = strng }
variable "B" { type = list }
variable "C" {
  type = number
  default = "x"
}
target "default" {}
