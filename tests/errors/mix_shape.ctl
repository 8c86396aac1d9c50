net labelled(x: d; d) -> y {
    weight m : [4, 4]
    y <- mix(m, x)
}
model m = labelled(; d = 4)
tune m {
    tokens 2 x 8
}
