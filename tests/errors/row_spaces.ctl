net labelled(x: d; d) -> y {
    weight before : [1, d]
    s[0] <- x
    for i in 0..5 {
        s[i + 1] <- prepend(before, s[i])
    }
    y <- s[5]
}
model m = labelled(; d = 4)
tune m {
    tokens 2 x 8
}
