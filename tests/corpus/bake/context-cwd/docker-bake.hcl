target "default" {
  context = "cwd://sub/../x"
}
