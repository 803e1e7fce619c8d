variable "N" { default = 1 }
variable "B" { type = bool }
variable "O" { type = object({ a = string }) }
variable "LIST" { default = ["a"] }
target "default" {}
