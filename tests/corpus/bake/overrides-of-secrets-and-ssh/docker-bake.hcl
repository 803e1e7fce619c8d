target "default" {
  secret = ["id=a,env=X"]
}
