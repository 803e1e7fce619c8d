variable "FROM_FILE" { default = "not for hcl" }
target "app" { args = { A = FROM_FILE } }
