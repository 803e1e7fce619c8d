target "default" {
  tags = ["${name}:${version}"]
}
