variable "A" { default = "a" }
variable "B" {}
target "default" {
  args = {
    a = "<${A}>"
    b = "<${B}>"
    c = A == "" ? "empty" : "full"
  }
}
