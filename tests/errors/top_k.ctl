net labelled(x: d; d) -> y {
    y <- top(x; k = 0)
}
model m = labelled(; d = 4)
tune m {
    tokens 2 x 8
}
