target "default" {
  tags = ["abc]
}
