net f(x: d, target: d; d) -> y, loss {
    y <- x
    for i in 0..1e9 {
        y <- x
    }
    loss <- mse(y, target)
}
model m = f(; d = 4)
tune m {
    tokens 2 x 8
}
