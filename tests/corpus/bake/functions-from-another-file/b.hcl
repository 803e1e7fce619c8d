target "default" {
  tags = [tag("app", "1", "2"), tag("app", "x")]
}
