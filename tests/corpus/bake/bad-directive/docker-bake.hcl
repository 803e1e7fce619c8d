target "default" {
  args = { a = "%{ if true }x", b = "%{ while }" }
}
