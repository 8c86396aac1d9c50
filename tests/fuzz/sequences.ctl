# A seed with rows beyond tokens.
import control

net labelled(x: d, label: id per sequence, target: d per sequence; d = 4) -> logits, loss {
    weight before : [2, d] init normal(0.1)
    weight m : [6, 6] init eye
    s <- prepend(before, x)
    a <- mix(m, s)
    a <- attend(s, s, s; head = 2, causal = false)
    z <- top(pool(a) + first(a) + take(s, 1) * take(x, length(first(x)) - 1); k = 2)
    logits <- head: linear(cat(z, position(z)); n = 3)
    loss <- cross_entropy(logits, label)
    loss <- mse(z, target)
}
control mine(rank = 1) on labelled {
    a => control.mixing(; rank)
    a => low: control.houlsby(; rank)
    train head.**, before
}
model m = labelled()
tune m with mine() {
    tokens 2 x 4
}
