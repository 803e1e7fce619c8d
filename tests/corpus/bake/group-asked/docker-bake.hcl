group "default" { targets = ["other"] }
group "apps" { targets = ["api", "web"] }
target "api" {}
target "web" {}
target "db" {}
target "other" {}
