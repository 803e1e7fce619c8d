target "default" {
  description       = "everything"
  annotations       = ["index:org.example=a", "manifest:org.example=b"]
  attest            = ["type=sbom,generator=scan:1", { type = "provenance", mode = "max" }]
  context           = "./src/"
  contexts          = { base = "docker-image://alpine:3", data = "../data" }
  dockerfile        = "build/Dockerfile"
  args              = { A = "1", B = 2, C = true, D = null }
  labels            = { "org.label" = "x" }
  tags              = ["example.com/a:1", "example.com/a:1", "", "example.com/a:2"]
  cache-from        = ["type=registry,ref=example.com/cache", "example.com/plain"]
  cache-to          = [{ type = "local", dest = "cache" }]
  target            = "final"
  secret            = ["id=a,env=TOKEN", { id = "b", src = "b.txt" }]
  platforms         = ["linux/amd64", "linux/arm64"]
  output            = ["type=image,push=true"]
  pull              = true
  no-cache          = false
  network           = "none"
  no-cache-filter   = ["final"]
  shm-size          = "64m"
  ulimits           = ["nofile=1024:2048"]
  call              = "build"
  entitlements      = ["security.insecure"]
  extra-hosts       = { host = "10.0.0.1" }
}
