target "default" { matrix = { a = ["x", "y"] } }
