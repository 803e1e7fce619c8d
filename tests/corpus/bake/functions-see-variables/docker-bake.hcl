variable "REPO" { default = "example.com" }
function "image" {
  params = [name]
  result = "${REPO}/${name}"
}
target "default" { tags = [image("app")] }
