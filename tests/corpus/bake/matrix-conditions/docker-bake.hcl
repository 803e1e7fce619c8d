target "default" {
  name = "t-${tgt}"
  matrix = { tgt = ["dev", "prod"] }
  target = tgt
  args = tgt == "prod" ? { OPT = "3" } : { DEBUG = "1" }
  no-cache = tgt == "prod"
}
