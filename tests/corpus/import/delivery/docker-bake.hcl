group "default" {
  targets = ["image", "files", "archive", "privileged"]
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

target "privileged" {
  network      = "host"
  entitlements = ["security.insecure"]
  shm-size     = "128m"
  ulimits      = ["nofile=1024:2048"]
  extra-hosts  = { registry = "10.0.0.2" }
}
