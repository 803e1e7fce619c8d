target "app" { tags = ["y:1"] }
