target "a" {
  secret = ["id=one,env=A", "id=two,env=B"]
}
target "default" {
  inherits = ["a"]
  secret = ["id=one,env=C"]
}
