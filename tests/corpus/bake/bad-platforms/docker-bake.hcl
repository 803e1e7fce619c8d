group "default" { targets = ["t0", "t1", "t2"] }
target "t0" { platforms = ["linux/arm64/v8/x"] }
target "t1" { platforms = ["linux//v7"] }
target "t2" { platforms = ["linux/a b"] }
