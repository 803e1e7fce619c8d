target "default" {
  context = "./a/../b/"
  dockerfile = "../Dockerfile"
  contexts = { x = "./c/", y = "cwd://d", z = "https://example.com/x.tar" }
}
