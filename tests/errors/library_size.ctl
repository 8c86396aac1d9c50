import llama, control
net f(x: d, target: d; d) -> y, loss {
    y <- a: linear(x; n = 4 / 3)
    loss <- mse(y, target)
}
model m = f(; d = 4)
tune m {
    tokens 2 x 8
}
