target "base" { args = { A = "a" } }
target "default" { inherits = ["base"] }
