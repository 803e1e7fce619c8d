function "two" {
  params = [a, b]
  result = "${a}${b}"
}
target "default" {
  tags = [upper()]
  args = { a = upper("a", "b") }
  labels = { a = two("x") }
  annotations = [regex("(", "x")]
  platforms = ["${parseint("zz", 10)}"]
}
