group "default" { targets = ["apps", "db"] }
group "apps" {
  description = "all apps"
  targets = ["api", "web", "api"]
}
target "api" { tags = ["api"] }
target "web" { tags = ["web"] }
target "db" {}
target "other" {}
