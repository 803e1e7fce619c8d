variable "TAG" { default = "override" }
group "default" { targets = ["app"] }
target "app" {
  args = { B = "2" }
  platforms = ["linux/arm64"]
}
