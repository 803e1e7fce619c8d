target "default" {
  name = item.name
  matrix = {
    item = [
      { name = "one", args = { A = "1" } },
      { name = "two", args = { B = "2" } },
    ]
  }
  args = item.args
  tags = ["x:${item.name}"]
}
