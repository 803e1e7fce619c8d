target "docker-metadata-action" {
  tags = ["app:local"]
}
target "release" {
  inherits = ["docker-metadata-action"]
  platforms = ["linux/amd64", "linux/arm64"]
}
