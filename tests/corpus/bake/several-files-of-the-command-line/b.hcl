group "all" { targets = ["app"] }
target "app" {
  args = { A = "hcl", B = "b" }
  tags = ["hcl:1"]
}
