target "api" {}
target "app" {}
target "web" {}
target "db" {}
