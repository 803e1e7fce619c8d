group "default" { targets = ["t0", "t1"] }
target "t0" { output = ["type=local"] }
target "t1" { output = ["type=local,dest=-"] }
