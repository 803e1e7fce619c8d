group "default" { targets = ["t0", "t1"] }
target "t0" { dockerfile = "-" }
target "t1" { context = "-" }
