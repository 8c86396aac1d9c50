net t(x: d, target: d; d) -> y, loss {
    weight w : [d] init 1
    weight v : [d] init 2 * w
    y <- x * w * v
    loss <- mse(y, target)
}
control c() on t {
    train **
}
model m = t(; d = 4)
tune m with c() {
    tokens 2 x 4
}
