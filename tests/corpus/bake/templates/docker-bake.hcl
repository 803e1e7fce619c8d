variable "LIST" { default = ["a", "b"] }
variable "ON" { default = true }
target "default" {
  args = {
    a = "%{ if ON }on%{ else }off%{ endif }"
    b = "%{ for i, x in LIST }${i}=${x};%{ endfor }"
    c = "x${~ " y " ~}  z"
    d = "${LIST[0]}${"nested ${LIST[1]}"}"
    e = "$LIST %x $${LIST}"
    f = "tab\tquote\"backslash\\unicode\u0041"
  }
}
