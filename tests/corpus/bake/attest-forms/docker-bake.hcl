target "default" {
  attest = [{ type = "provenance", mode = "max" }, "type=sbom,generator=\"a,b\"", { type = "sbom", disabled = true }]
}
