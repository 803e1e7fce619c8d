variable "A" { default = "file" }
variable "B" { default = "file" }
target "default" { args = { A = A, B = B } }
