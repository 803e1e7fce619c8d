variable "N" { default = null }
target "default" {
  context = null
  dockerfile = N
  tags = N == null ? null : ["x"]
  args = { A = null, B = N, C = "c" }
  labels = { l = null }
  platforms = null
  no-cache = null
  target = null
}
