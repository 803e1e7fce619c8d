variable "A" {
  default = "v1"
  validation {
    condition = A != ""
    error_message = "A is needed"
  }
  validation {
    condition = can(regex("^v[0-9]+$", A))
    error_message = "A must be a version"
  }
}
target "default" { args = { A = A } }
