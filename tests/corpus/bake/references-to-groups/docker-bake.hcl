group "default" { targets = ["a", "b"] }
target "a" { args = { N = length(group.default.targets) } }
target "b" {}
