function "f" { params = [] }
function "g" { result = 1 }
function "h" {
  params = ["a b"]
  result = 1
}
target "default" {}
