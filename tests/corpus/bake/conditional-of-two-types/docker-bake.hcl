target "default" { args = { a = true ? [1] : { b = 1 } } }
