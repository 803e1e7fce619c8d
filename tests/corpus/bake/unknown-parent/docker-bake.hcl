target "default" { inherits = ["nothing"] }
