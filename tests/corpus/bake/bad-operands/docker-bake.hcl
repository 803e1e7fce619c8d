target "default" {
  args = {
    a = 1 + "x"
    b = !5
  }
  tags = ["${null}"]
  labels = { a = 1 / 0 }
  annotations = ["${[1]}-"]
}
