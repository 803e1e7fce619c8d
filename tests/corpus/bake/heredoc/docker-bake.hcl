variable "NAME" { default = "world" }
target "default" {
  args = {
    plain = <<EOT
Hello ${NAME}
  indented "quoted" \n not escaped
EOT
    flush = <<-EOT
      a
        b ${NAME}

      c
    EOT
    list = <<-EOT
      %{ for x in ["a", "b"] ~}
      item ${x}
      %{ endfor ~}
      end
    EOT
  }
}
