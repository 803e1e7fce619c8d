target "default" {
  labels = { a = "$${x} <b> & 'c' \"d\" \u00e9 \n", "b" = "%%{ if }" }
  annotations = ["k=$${v}"]
  args = { A = "$${A}" }
}
