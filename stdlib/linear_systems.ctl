# linear_systems: layered linear systems, plain and residual, on real inputs.
net deep_linear(x: d, target: d; depth, d) -> y, loss {
    s[0] <- x
    for i in 0..depth {
        s[i + 1] <- layers[i]: linear(s[i]; n = d)
    }
    y <- s[depth]
    loss <- mse(y, target)
}
net residual(x: d, target: d; depth, d) -> y, loss {  # x + f(x W)
    s[0] <- x
    for i in 0..depth {
        s[i + 1] <- s[i]
        s[i + 1] <- tanh(layers[i]: linear(s[i]; n = d))
    }
    y <- s[depth]
    loss <- mse(y, target)
}
