target "default" {
  context = BAKE_CMD_CONTEXT
  args = { C = BAKE_CMD_CONTEXT, P = BAKE_LOCAL_PLATFORM == "" ? "no" : "yes" }
}
