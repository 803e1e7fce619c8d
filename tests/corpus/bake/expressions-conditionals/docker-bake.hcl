variable "PUSH" { default = false }
variable "TAG" { default = "" }
target "default" {
  output = [PUSH ? "type=registry" : "type=docker"]
  tags = notequal("", TAG) ? ["app:${TAG}"] : ["app:dev", "app:latest"]
  args = PUSH ? {} : { DEBUG = 1 }
  target = PUSH ? "release" : null
}
