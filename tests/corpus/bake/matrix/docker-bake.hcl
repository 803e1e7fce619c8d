target "app" {
  name = "app-${variant}-${version}"
  matrix = {
    variant = ["alpine", "debian"]
    version = ["1", "2"]
  }
  args = { VARIANT = variant }
  tags = ["app:${version}-${variant}"]
}
group "default" { targets = ["app"] }
