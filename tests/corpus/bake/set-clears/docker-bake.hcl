target "default" {
  tags = ["a"]
  cache-to = ["type=inline"]
  annotations = ["a=b"]
  attest = ["type=sbom"]
}
