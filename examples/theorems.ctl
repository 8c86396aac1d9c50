# The two theorems on control and weight tuning, as systems that examples/theorems.c measures.
import linear_systems, control

# x[t + 1] = x[t] (W[t] + U[t]) with U[t] of low rank: the change of the whole is x[0] M, rank M <= the sum of the ranks.
control low_rank(r = 2) on linear_systems.deep_linear {
    layers[*].weight ~ control.lora(; rank = r, alpha = r)
}
model deep = linear_systems.deep_linear(; depth = 3, d = 16)
tune rank = deep with low_rank(r = 2) {
    tokens 16 x 1
    compute f64
}

# x[t + 1] = x[t] + tanh(x[t] W) S with S singular: what moves x[t + 1] when W moves, and when a state edge is added.
net step(x: d, target: d; d) -> y, loss {
    weight inner.weight, outer.weight : [d, d] init normal(0.5)
    y <- x
    y <- tanh(x @ inner.weight.T) @ outer.weight.T
    loss <- mse(y, target)
}
net moved(x, W) -> y {                             # x (W + U)
    weight U : [cols(W), cols(x)] init 0
    y <- x @ W
    y <- x @ U.T
}
net beside(x) -> y {                               # x U
    weight U : [cols(x), cols(x)] init 0
    y <- x @ U.T
}
control on_weight() on step {
    inner.weight ~ moved()
}
control on_state() on step {
    y <- beside(x)
}
model one = step(; d = 8)
tune weight = one with on_weight() {
    tokens 1 x 1
    compute f64
}
tune state = one with on_state() {
    tokens 1 x 1
    compute f64
}
