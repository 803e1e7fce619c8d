variable "L" {
  type = list(string)
  default = ["a"]
}
variable "M" {
  type = map(list(number))
  default = { a = [1, 2] }
}
variable "T" {
  type = tuple([string, bool])
  default = ["1", "true"]
}
target "default" {
  args = {
    a = join(",", L)
    d = M.a[1]
    e = T[1] ? "yes" : "no"
  }
}
