target "default" {
  args = { A = "1", B = "1" }
  tags = ["one"]
}
target "default" {
  args = { B = "2" }
  cache-from = ["x"]
}
