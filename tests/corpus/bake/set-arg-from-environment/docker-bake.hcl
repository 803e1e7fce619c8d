target "default" { args = { A = "a", B = "b" } }
