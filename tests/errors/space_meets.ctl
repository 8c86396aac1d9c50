net labelled(x: d; d) -> y {
    y <- x
    y <- pool(x)
}
model m = labelled(; d = 4)
tune m {
    tokens 2 x 8
}
