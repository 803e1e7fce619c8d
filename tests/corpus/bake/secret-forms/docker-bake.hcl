target "default" {
  secret = ["id=a,type=env,src=A", { id = "c", env = "C" }, ""]
}
