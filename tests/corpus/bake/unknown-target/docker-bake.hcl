target "api" {}
target "app" {}
