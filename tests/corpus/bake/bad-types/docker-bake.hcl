target "default" {
  tags = "not a list"
  args = ["not a table"]
  no-cache = "maybe"
  platforms = [["nested"]]
  output = [{ push = true }]
  attest = ["mode=max"]
  secret = ["id=x,colour=red"]
  labels = { a = [1] }
}
