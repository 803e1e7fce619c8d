variable "L" { type = list(string) }
target "default" { args = { N = length(L), F = L[0] } }
