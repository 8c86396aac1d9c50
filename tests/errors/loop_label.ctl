net t(x: d, target: d; d) -> y, loss {
    for i in 0..2 {
        y <- l: linear(x)
    }
    loss <- mse(y, target)
}
control c() on t {
    train **
}
model m = t(; d = 4)
tune m with c() {
    tokens 2 x 4
}
