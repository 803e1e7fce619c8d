# a comment
// another
/* a
   third */
target "default" { # behind
  tags = ["a"] // behind too
  /* between */ args = {}
}
