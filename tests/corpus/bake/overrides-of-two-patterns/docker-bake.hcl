group "default" { targets = ["app-a", "app-b"] }
target "app-a" { args = { X = "1" } }
target "app-b" { args = { X = "2" } }
