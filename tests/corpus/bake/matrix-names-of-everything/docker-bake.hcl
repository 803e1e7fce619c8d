target "app" {
  name = "app-${replace(v, ".", "-")}-${os.name}"
  matrix = {
    v = ["1.2", "2.0"]
    os = [{name="alpine", tag="3"}, {name="debian", tag="12"}]
  }
  tags = ["app:${v}-${os.name}${os.tag}"]
  args = { V = v, OS = os.tag }
}
