version = "1"
name = "app-${version}"
