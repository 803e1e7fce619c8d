target "d" { context = target.a.context }
target "b" { dockerfile = "x" }
