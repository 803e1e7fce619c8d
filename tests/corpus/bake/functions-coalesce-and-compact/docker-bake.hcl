target "default" {
  args = {
    a = coalesce(null, "x")
    b = join(",", compact(["a","","b"]))
    c = join(",", coalescelist([], ["b"]))
    d = try(nothing.here, "fallback")
    e = can(nothing.here) ? "can" : "cannot"
    f = jsonencode(flatten([["a"],[["b"]],"c"]))
    g = jsonencode(concat(["a"],[1]))
    h = jsonencode(range(1, 7, 2))
    i = semvercmp("1.2.3", ">= 1.0") ? "new" : "old"
  }
}
