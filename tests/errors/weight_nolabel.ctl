import llama, tuning, control
model m = f(; d = 4)
net f(x: d; d) -> y {
    y <- linear(x; n = 3)
}
tune m {
    tokens 2 x 2
}
