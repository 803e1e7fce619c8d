target "default" {
  labels = { "org.x" = "1" }
}
