target "default" {
  args = {
    a = formatdate("YYYY", "2024-05-06T07:08:09Z")
    b = strlen(timestamp()) > 10
    c = strlen(uuidv4())
    d = substr(bcrypt("x"), 0, 4)
    e = formattimestamp("YYYY-MM", 1700000000)
  }
}
