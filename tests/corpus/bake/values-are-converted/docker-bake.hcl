target "default" {
  tags = [1, true, "x"]
  no-cache = "true"
  args = { a = 1.50, b = 10000000000000000000000, c = -0.5 }
  shm-size = 67108864
  platforms = toset
}
toset = ["linux/amd64"]
