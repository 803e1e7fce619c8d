group "default" {
  targets = ["tools"]
}

target "tools" {
  dockerfile-inline = <<EOT
FROM alpine:3.21
RUN apk add --no-cache "git" \
    curl
EOT
  args = {
    FORMAT = "{{.Names}}"
  }
  pull     = true
  no-cache = true
}
