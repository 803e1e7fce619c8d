variable "A" {
  default = 2
  validation {
    condition = A > MIN
    error_message = "too small"
  }
}
variable "MIN" { default = 1 }
target "default" {
  args = {
    a = A
  }
}
