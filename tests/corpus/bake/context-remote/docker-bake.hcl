target "default" {
  context = "https://github.com/example/app.git#main:sub"
}
