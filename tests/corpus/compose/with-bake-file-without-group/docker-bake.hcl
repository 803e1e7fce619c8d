target "extra" { inherits = ["app"] }
