group "default" { targets = ["b"] }
