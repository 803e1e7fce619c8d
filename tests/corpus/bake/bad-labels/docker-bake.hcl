target "a" "b" {}
target {}
