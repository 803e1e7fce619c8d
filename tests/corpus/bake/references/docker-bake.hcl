target "default" {
  tags = ["${target.base.tags[0]}-more"]
  args = merge(target.base.args, { B = "2" })
  dockerfile = target.base.dockerfile
  platforms = target.base.platforms
}
target "base" {
  tags = ["base"]
  args = { A = "1" }
  dockerfile = "base.Dockerfile"
  platforms = ["linux/amd64"]
}
