target "default" {
  secret = [{ type = "env", id = "HOME" }, { type = "env", id = "a", src = "B" }, "type=env,id=TOKEN", { type = "file", id = "f", src = "./docker-bake.hcl" }]
}
