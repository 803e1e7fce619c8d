group "default" { targets = ["t0"] }
target "t0" { resources = { memory = "much" } }
