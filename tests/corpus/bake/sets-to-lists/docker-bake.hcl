target "default" {
  tags = setunion(["b", "a"], ["c"])
  platforms = convert(["linux/b", "linux/a"], set(string))
}
