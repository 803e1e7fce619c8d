target "default" {
  tag = ["typo"]
  cgroup-parent = "x"
  healthcheck {
    test = "x"
  }
}
service "x" {
  a = 1
}
