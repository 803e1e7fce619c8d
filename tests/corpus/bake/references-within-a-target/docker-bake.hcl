target "default" {
  args = { VERSION = "1.2" }
  tags = ["app:${target.default.args.VERSION}"]
}
