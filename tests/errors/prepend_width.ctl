net labelled(x: d; d) -> y {
    weight before : [1, 3]
    y <- prepend(before, x)
}
model m = labelled(; d = 4)
tune m {
    tokens 2 x 8
}
