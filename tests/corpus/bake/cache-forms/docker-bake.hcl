target "default" {
  cache-from = ["a,b", "type=gha,scope=x", { type = "s3", region = "r", bucket = "b" }, "", "type=gha,scope=x"]
  cache-to = ["type=gha,MODE=max", "type=inline"]
}
