variable "A" { default = "a" }
variable "B" { default = "${A}-b" }
variable "C" { default = upper(B) }
target "default" {
  args = {
    c = C
  }
}
