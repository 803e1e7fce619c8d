variable "O" { default = { name = "x" } }
target "default" { args = { A = O.nmae } }
