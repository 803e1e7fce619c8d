target "ab" {}
target "ac" {}
target "b" {}
