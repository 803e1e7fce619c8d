group "app" { targets = ["app", "web"] }
target "app" {}
target "web" {}
