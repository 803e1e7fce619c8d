// Built by CI on every push.
# Two lines are kept together.
group "default" {
  targets = ["app", "app-debug"]
}

# The image that we ship.
target "app" {
  # Pinned until the next release of the base.
  args = { BASE = "debian:12" }
}

# The same with a debugger.
target "app-debug" {
  inherits = ["app"]
  target   = "debug"
  annotations = ["index:org.opencontainers.image.title=app"]
}
