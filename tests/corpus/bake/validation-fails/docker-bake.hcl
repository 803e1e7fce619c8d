variable "PORT" {
  default = 70000
  validation {
    condition = PORT < 65536
    error_message = "PORT ${PORT} is no port"
  }
}
variable "NAME" {
  default = ""
  validation {
    condition = NAME != ""
    error_message = "NAME is needed"
  }
}
target "default" {}
