target "default" { tags = [target.other.tags[0]] }
target "other" { tags = [target.default.tags[0]] }
