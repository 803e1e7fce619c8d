target "default" { tags = ["a\q"] }
