target "default" {
  args = {
    a = parseint("ff", 16)
    b = parseint("-11", 2)
    c = ceil(1.2)
    d = floor(-1.2)
    e = modulo(7, 3)
    f = modulo(-7, 3)
    g = divide(1, 4)
    h = pow(2, 10)
    i = log(8, 2)
    j = signum(-3)
    k = int(3.9)
    l = max(1, 5, 3)
    m = 10 / 4
    n = 7 % 4
    o = 1e3
    p = 0.1 + 0.2
  }
}
