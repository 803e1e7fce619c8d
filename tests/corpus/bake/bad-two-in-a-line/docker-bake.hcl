target "default" { tags = ["a"] args = {} }
