target "default" {
  dockerfile-inline = <<-EOT
    FROM scratch
    ENV A=$${B} C=%%{d}
      LABEL x="${upper("y")}"
  EOT
  args = { Q = "a\"b\\c\td\u00e9" }
}
