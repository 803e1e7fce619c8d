group "default" { targets = ["t0"] }
target "t0" { secret = ["src=x"] }
