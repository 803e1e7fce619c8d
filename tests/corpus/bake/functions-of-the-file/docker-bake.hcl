function "tag" {
  params = [name, version]
  result = ["example.com/${name}:${version}", "example.com/${name}:latest"]
}
function "increment" {
  params = [number]
  result = number + 1
}
function "joined" {
  params = [separator]
  variadic_params = items
  result = join(separator, [for item in items : upper(item)])
}
function "twice" {
  params = [n]
  result = increment(increment(n))
}
target "default" {
  tags = tag("app", "1")
  args = { A = increment(1), B = joined("-", "a", "b"), C = twice(1), D = joined("-") }
}
