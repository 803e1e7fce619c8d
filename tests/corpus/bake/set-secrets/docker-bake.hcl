target "default" { secret = ["id=one,src=one.txt"] }
