group "default" { description = "empty" }
