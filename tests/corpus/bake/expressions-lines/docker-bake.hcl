target "default" {
  args = {
    a = (
      1 +
      2
    )
    b = join(
      ",",
      [
        "x", # comment
        "y", // another
        /* a third */
      ],
    )
    c = "z", d = "w"
  }
  tags = concat(
    ["a"],
    ["b"],
  )
}
