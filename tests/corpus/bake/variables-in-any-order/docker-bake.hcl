target "default" {
  tags = ["${image}:${TAG}"]
}
image = "${REGISTRY}/app"
variable "TAG" { default = "${PREFIX}-1" }
variable "PREFIX" { default = lower("V") }
variable "REGISTRY" { default = "example.com" }
