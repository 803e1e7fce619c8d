my-var = "x"
target "default" { args = { a-b = my-var, "c.d" = "e" } }
