target "default" {
  args = {
    a = join(",", setunion(["b","a"], ["c","a"]))
    b = join(",", setintersection(["a","b"], ["b"]))
    c = join(",", setsubtract(["a","b"], ["b"]))
    d = join(",", setsymmetricdifference(["a","b"], ["b","c"]))
    e = length(setproduct(["a","b"], ["c"]))
    f = join(",", distinct(["a","b","a"]))
    g = join(",", sort(["b","a"]))
    h = join(",", reverselist(["a","b"]))
  }
}
