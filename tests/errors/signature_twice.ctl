fn f(x, x) = x
net g(x; n, x) -> y, y {
    y <- x
}
control c(a = 1, a = 2) on g {
    y <- x
}
model m = g(; n = 1, x = 2)
tune m with c() {
    tokens 2 x 4
}
