variable "TAG" {
  default = ""
}

variable "LATEST" {
  default = true
}

target "default" {
  context = "app"
  tags = [
    notequal("", TAG) ? "example.com/app:${TAG}" : "",
    LATEST ? "example.com/app:latest" : "",
    "example.com/app:%{ if TAG != "" }${TAG}-%{ endif }dev",
  ]
  labels = {
    "org.opencontainers.image.version" = TAG != "" && !LATEST ? TAG : "none"
  }
}

target "strict" {
  context = "app"
  tags = concat(["example.com/strict:base"], LATEST ? ["example.com/strict:latest"] : ["example.com/strict:old", "example.com/strict:${TAG}"])
}
