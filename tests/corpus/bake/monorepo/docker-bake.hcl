variable "REGISTRY" { default = "localhost:5000" }
variable "VERSION" { default = "dev" }
variable "PLATFORMS" { default = "linux/amd64,linux/arm64" }
variable "SERVICES" { default = ["auth", "billing"] }

function "semver_tags" {
  params = [image]
  result = VERSION == "dev" ? ["${REGISTRY}/${image}:dev"] : concat(
    ["${REGISTRY}/${image}:${VERSION}"],
    ["${REGISTRY}/${image}:${join(".", slice(split(".", VERSION), 0, 2))}"],
    length(regexall("-", VERSION)) > 0 ? [] : ["${REGISTRY}/${image}:latest"],
  )
}

target "_common" {
  platforms = split(",", PLATFORMS)
  args = { VERSION = VERSION, BUILDKIT_CONTEXT_KEEP_GIT_DIR = 1 }
  labels = {
    "org.opencontainers.image.version" = VERSION
    "org.opencontainers.image.source" = "https://example.com/mono"
  }
}

target "builder" {
  inherits = ["_common"]
  dockerfile = "docker/builder.Dockerfile"
}

target "service" {
  name = "service-${svc}"
  matrix = { svc = SERVICES }
  inherits = ["_common"]
  context = "services/${svc}"
  contexts = { builder = "target:builder" }
  tags = semver_tags(svc)
  cache-from = ["type=registry,ref=${REGISTRY}/cache:${svc}"]
  cache-to = ["type=registry,ref=${REGISTRY}/cache:${svc},mode=max"]
}

target "web" {
  inherits = ["_common"]
  context = "web"
  target = "runtime"
  tags = semver_tags("web")
}

group "default" { targets = ["service", "web"] }
group "release" { targets = ["default"] }
