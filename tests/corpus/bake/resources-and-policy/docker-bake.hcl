target "default" {
  resources = { memory = "1g", cpu-shares = 512, cpuset-cpus = "0-1" }
}
