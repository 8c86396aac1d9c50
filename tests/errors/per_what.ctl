net labelled(x: d, label: id a sequence; d) -> y, loss {
    y <- first(x)
    loss <- cross_entropy(y, label)
}
model m = labelled(; d = 4)
tune m {
    tokens 2 x 8
}
