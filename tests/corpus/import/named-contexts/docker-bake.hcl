group "default" {
  targets = ["app"]
}

target "base" {
  dockerfile = "baseapp.Dockerfile"
}

target "app" {
  contexts = {
    baseapp = "target:base"
    alpine  = "docker-image://alpine:3.21"
    src     = "../shared"
    docs    = "https://github.com/acme/docs.git#main"
  }
  platforms = ["linux/amd64", "linux/arm64"]
}
