group "default" { targets = ["t0", "t1", "t2", "t3"] }
target "t0" { shm-size = "much" }
target "t1" { ulimits = ["nofile"] }
target "t2" { ulimits = ["files=1"] }
target "t3" { ulimits = ["nofile=5:1"] }
