target "default" {
  output = null
  description = null
}
