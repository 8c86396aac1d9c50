import linear_systems
model m = linear_systems.residual(; depth = 3, d = 2.5)
tune m {
    tokens 2 x 8
}
