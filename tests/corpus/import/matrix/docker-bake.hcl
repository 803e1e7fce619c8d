variable "GO" {
  default = "1.24"
}

group "default" {
  targets = ["app"]
}

target "app" {
  name = "app-${base}-${replace(go, ".", "-")}"
  matrix = {
    base = ["alpine", "debian"]
    go   = ["1.23", GO]
  }
  dockerfile = "Dockerfile.${base}"
  args = {
    GO_VERSION = go
  }
  tags = ["example.com/app:${go}-${base}"]
}

target "svc" {
  name = item.name
  matrix = {
    item = [
      { name = "auth", port = "8001" },
      { name = "billing", port = "8002" },
    ]
  }
  context = "services/${item.name}"
  args    = { PORT = item.port }
}
