net labelled(x: d; d) -> y {
    weight before : [3, d]
    y <- first(before)
}
model m = labelled(; d = 4)
tune m {
    tokens 2 x 8
}
