target "default" {
  output = ["type=local,dest=out", "out2", { type = "oci", dest = "x.tar", compression = "zstd" }, "type=registry", ""]
}
