net labelled(x: d; d) -> y {
    y <- take(x, 8)
}
model m = labelled(; d = 4)
tune m {
    tokens 2 x 8
}
