group "default" {
  targets = ["api", "worker"]
}

# What every image of ours gets.
target "_common" {
  platforms = ["linux/amd64", "linux/arm64"]
  args = {
    ALPINE = "3.21"
    BUILDKIT_CONTEXT_KEEP_GIT_DIR = 1
  }
  labels = {
    "org.opencontainers.image.vendor" = "Acme"
  }
  secret = ["id=netrc,src=.netrc"]
}

target "_go" {
  inherits   = ["_common"]
  dockerfile = "go.Dockerfile"
  secret     = ["id=goproxy,env=GOPROXY_TOKEN"]
}

target "api" {
  inherits = ["_go"]
  # The API has a stage of its own.
  target = "api"
  args   = { ALPINE = "3.22" }
}

target "worker" {
  inherits = ["_go"]
  target   = "worker"
}
