import llama, tuning, control
model m = f()
net f(x) -> y {
    y <- x
}
tune m {
    tokens 2 x 2
}
