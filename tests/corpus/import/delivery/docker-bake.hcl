group "default" {
  targets = ["image", "files", "archive", "cached", "privileged"]
}

variable "CI" {
  default = false
}

target "image" {
  output = ["type=image,name=example.com/app,push=true"]
}

target "files" {
  target = "export"
  output = [{ type = "local", dest = "out/${CI ? "ci" : "local"}" }]
}

target "archive" {
  output = ["type=oci,dest=app.tar"]
}

target "cached" {
  cache-from = ["type=gha,scope=app", "example.com/app:cache"]
  cache-to   = ["type=registry,ref=example.com/app:cache,mode=max"]
  attest     = ["type=provenance,mode=max", "type=sbom"]
}

target "privileged" {
  network      = "host"
  entitlements = ["security.insecure"]
  shm-size     = "128m"
  ulimits      = ["nofile=1024:2048"]
  extra-hosts  = { registry = "10.0.0.2" }
}
