group "default" { targets = ["a"] }
target "a" { tags = ["x"] }
