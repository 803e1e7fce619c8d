target "default" {
  args = {
    a = "%{ for x in ["a","b"] }${x};%{ endfor }"
    b = "%{ if true }yes%{ else }no%{ endif }"
    c = "a%{ if false ~} x %{~ endif }b"
    d = "${[for i, x in ["a","b"] : "${i}=${x}"][1]}"
  }
}
