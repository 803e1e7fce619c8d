target "default" { contexts = { x = "target:other" } }
target "other" { contexts = { x = "target:default" } }
