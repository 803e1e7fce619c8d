variable "TAG" { default = "dev" }
group "default" { targets = ["app", "db"] }
target "app" {
  tags = ["app:${TAG}"]
  args = { A = "1" }
}
target "db" {}
