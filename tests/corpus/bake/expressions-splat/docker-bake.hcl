people = [{ name = "a", tags = ["x"] }, { name = "b", tags = ["y", "z"] }]
target "default" {
  tags = people[*].name
  args = { a = join(",", people.*.name), b = people[1].tags[0], c = people.0.name, d = jsonencode(people[*].tags[0]) }
}
