variable "L" {
  type = list(string)
  default = ["a"]
}
variable "S" { type = set(string) }
variable "M" { type = map(number) }
variable "T" { type = tuple([string, number]) }
variable "N" { type = number }
variable "B" { type = bool }
variable "U" { type = string }
target "default" {
  args = {
    L = join("|", L)
    S = join("|", S)
    M = jsonencode(M)
    T = "${T[0]}${T[1] + 1}"
    N = N
    B = B
    U = U == null ? "null" : "set"
  }
}
