target "default" {
  args = {
    a = null == null ? "same" : "other"
    b = "a" != "b" && !false || false ? "t" : "f"
    c = 1 == "1" ? "same" : "other"
    d = true == "true" ? "same" : "other"
    e = 3 > 2 ? 1 : 2
  }
}
