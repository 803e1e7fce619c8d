target "a" {
  output = ["type=image,name=x"]
  secret = ["id=s,env=S"]
}
target "default" {
  args = { T = target.a.output[0].type, S = target.a.secret[0].id, N = target.a.tags == null ? "none" : "some" }
}
