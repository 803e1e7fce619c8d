variable "TAG" {
  default = "dev"
}

group "default" {
  targets = ["api", "web", "jobs"]
}

target "api" {
  context   = "services/api"
  tags      = ["registry.example.com/shop/api:${TAG}"]
  platforms = ["linux/amd64", "linux/arm64"]
}

target "web" {
  context   = "services/web"
  tags      = ["registry.example.com/shop/web:${TAG}", "registry.example.com/shop/web:latest"]
  platforms = ["linux/amd64", "linux/arm64"]
}

target "jobs" {
  context   = "services/jobs"
  tags      = ["registry.example.com/shop/jobs:${TAG}"]
  platforms = ["linux/amd64", "linux/arm64"]
}
