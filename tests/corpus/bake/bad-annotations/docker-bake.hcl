group "default" { targets = ["t0", "t1", "t2"] }
target "t0" { annotations = ["name"] }
target "t1" { annotations = ["layer:a=b"] }
target "t2" { annotations = ["manifest[linux/a/b/c]:a=b"] }
