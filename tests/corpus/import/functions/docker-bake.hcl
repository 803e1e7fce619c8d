variable "REGISTRY" {
  default = "registry.example.com"
}

variable "VERSION" {
  default = "v2.1.0"
}

function "tag" {
  params = [image, suffix]
  result = ["${REGISTRY}/${image}:${trimprefix(VERSION, "v")}${suffix}", "${REGISTRY}/${image}:${lower(VERSION)}"]
}

group "default" {
  targets = ["api", "web"]
}

target "api" {
  context = "api"
  tags    = tag("api", "")
}

target "web" {
  context = "web"
  tags    = tag("web", "-slim")
  args = {
    BUILD_DATE = formatdate("YYYY-MM-DD", "2024-05-06T07:08:09Z")
    DIGEST     = substr(sha256(VERSION), 0, 12)
    SHORT      = join(".", slice(split(".", trimprefix(VERSION, "v")), 0, 2))
  }
}
