variable "N" { default = 5 }
variable "B" { default = false }
variable "F" { default = 1.5 }
variable "S" { default = "x" }
target "default" {
  args = {
    n = N + 1
    b = B ? "on" : "off"
    f = F * 2
    s = "${S}-${N}"
  }
}
