variable "REGISTRY" {
  default = "ghcr.io/acme"
  description = "Where images are pushed"
}

# The release channel decides on the tags.
variable "CHANNEL" {
  default = "edge"
  validation {
    condition = contains(["edge", "beta", "stable"], CHANNEL)
    error_message = "CHANNEL must be edge, beta or stable."
  }
}

variable "VERSION" {
  type    = string
  default = "1.4.0"
  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", VERSION))
    error_message = "three numbers, as in 1.4.0"
  }
}

variable "JOBS" {
  type    = number
  default = 4
  validation {
    condition     = JOBS > 0
    error_message = "JOBS must be positive."
  }
}

variable "DEBUG" {
  default = false
}

variable "PLATFORMS" {
  type    = list(string)
  default = ["linux/amd64", "linux/arm64"]
}

target "default" {
  args = {
    VERSION = VERSION
    JOBS    = JOBS
    FLAGS   = DEBUG ? "-gcflags=all=-N" : ""
  }
  tags      = ["${REGISTRY}/app:${VERSION}", "${REGISTRY}/app:${CHANNEL}"]
  platforms = PLATFORMS
}
