variable "LIST" { default = ["a"] }
target "default" { tags = LIST }
