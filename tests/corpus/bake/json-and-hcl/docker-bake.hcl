target "app" {
  dockerfile = "app.Dockerfile"
}
