net t(x: d, target: d; d) -> y, loss {
    y <- l: linear(x)
    loss <- mse(l.weight, 0 * l.weight)
    loss <- mse(y, target)
}
control c() on t {
    train **
}
model m = t(; d = 4)
tune m with c() {
    tokens 2 x 4
}
