target "default" {
  args = { a = <<EOT
never ends
}
