target "a" {
  tags = ["x"
}

target "b" {
  args = { = }
}

target "c" {
  tags = ["ok"]
}
