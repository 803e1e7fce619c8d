target "default" { args = { a = length(target) } }
