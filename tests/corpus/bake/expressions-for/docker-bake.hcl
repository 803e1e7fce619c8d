variable "APPS" {
  default = {
    api = { port = 80, public = true }
    web = { port = 443, public = false }
  }
}
target "default" {
  tags = [for name, app in APPS : "${name}:${app.port}" if app.public]
  args = { for name, app in APPS : upper(name) => app.port }
  labels = { for name, app in APPS : (app.public ? "public" : "private") => name... if false }
  platforms = [for arch in ["amd64", "arm64"] : "linux/${arch}"]
}
