function "tag" {
  params = [name]
  variadic_params = rest
  result = "${PREFIX}/${name}:${join("-", rest)}"
}
variable "PREFIX" { default = "r.example" }
