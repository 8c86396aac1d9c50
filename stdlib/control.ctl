# control: what a control adds, as nets. An instance lives beside its target; names are PEFT's own.

# The factor of parallel control: from any state to any other, B at zero.
net lowrank(x; rank, width = cols(x), scale = 1.0, p = 0.0) -> y {
    weight lora_A.weight : [rank, cols(x)] init uniform(1 / sqrt(cols(x)))
    weight lora_B.weight : [width, rank] init 0
    y <- scale * drop(x @ lora_A.weight.T; p) @ lora_B.weight.T
}

# The same, A drawn from a normal distribution.
net lowrank_normal(x; rank, width = cols(x), scale = 1.0, p = 0.0, deviation = 0.02) -> y {
    weight lora_A.weight : [rank, cols(x)] init normal(deviation)
    weight lora_B.weight : [width, rank] init 0
    y <- scale * drop(x @ lora_A.weight.T; p) @ lora_B.weight.T
}

# In place of x @ W. For rank-stabilised LoRA pass scale = alpha / sqrt(rank).
net lora(x, W; rank, alpha, p = 0.0, scale = alpha / rank) -> y {
    weight lora_A.weight : [rank, cols(x)] init uniform(1 / sqrt(cols(x)))
    weight lora_B.weight : [cols(W), rank] init 0
    y <- x @ W
    y <- scale * (drop(x; p) @ lora_A.weight.T) @ lora_B.weight.T
}

# LoRA in direction, trained in magnitude; the norm has no derivative.
net dora(x, W; rank, alpha, p = 0.0, scale = alpha / rank) -> y {
    weight lora_A.weight : [rank, cols(x)] init uniform(1 / sqrt(cols(x)))
    weight lora_B.weight : [cols(W), rank] init 0
    weight lora_magnitude_vector : [cols(W)] init sqrt(sum(W.T * W.T)).T
    A = lora_A.weight
    B = lora_B.weight
    n2 = sum(W.T * W.T) + 2 * scale * sum((W.T @ A.T) * B) + scale * scale * sum((B @ (A @ A.T)) * B)
    g = lora_magnitude_vector / stop(sqrt(n2)).T   # weights only: once an update, no dense A B
    d = drop(x; p)
    z <- d @ W                                     # what the magnitude's gradient needs: one value, kept once
    z <- scale * (d @ A.T) @ B.T
    if p > 0 {
        y <- x @ W - d @ W                         # PEFT's form: x W + (g - 1) (d W) + g s (d A) B
    }
    y <- g * z
}

# Two trained vectors around frozen A and B.
net vera(x, W, A, B; d = 0.1) -> y {               # A, B belong to the control: shared
    weight vera_lambda_d : [rows(A)] init d
    weight vera_lambda_b : [cols(W)] init 0
    y <- x @ W
    y <- vera_lambda_b * ((vera_lambda_d * (x @ columns(A, 0..cols(x)).T)) @ columns(B.T, 0..cols(W)))
}

# Adapters: beside a layer (bottleneck), behind it (houlsby).
net bottleneck(x; rank, width = cols(x), scale = 1.0) -> y {
    y <- scale * (up: linear(relu(down: linear(x; n = rank, biased = true)); n = width, biased = true))
}
net bottleneck_linear(x; rank, width = cols(x)) -> y {
    y <- up_proj: linear(down_proj: linear(x; n = rank, biased = true); n = width, biased = true)
}
net houlsby(x; rank) -> y {
    y <- x
    y <- up: linear(gelu(down: linear(x; n = rank, biased = true)); n = cols(x), biased = true)
}

# Vectors: a scale, a bias, both.
net ia3(x) -> y {
    weight ia3_l : [cols(x)] init 1
    y <- x * ia3_l
}
net offset(; width) -> y {
    weight bias : [width] init 0
    y <- bias
}
net red(x) -> y {
    weight red_scale : [cols(x)] init 1
    weight red_bias : [cols(x)] init 0
    y <- x * red_scale + red_bias
}

# A change within a subspace, at the first and the last positions.
net loreft(x; rank, head, tail) -> y {             # R from r Householder reflections: orthonormal rows by construction
    weight V : [rank, cols(x)] init normal(1)
    weight W : [rank, cols(x)] init normal(0.02)
    weight b : [rank] init 0
    R[0] = eye(rank, cols(x))
    for k in 0..rank {
        v = take(V, k)
        R[k + 1] = R[k] - 2 / sum(v * v) * (R[k] @ v.T) @ v
    }
    m = position(x) < head or length(x) - position(x) <= tail
    y <- x
    y <- m * ((x @ W.T + b - x @ R[rank].T) @ R[rank])
}

# Over the rows of a sequence: low rank in the number of rows.
net mixing(x; rank, length = rows(x) / rows(first(x))) -> y {
    weight U : [length, rank] init 0
    weight V : [rank, length] init normal(0.02)
    y <- mix(U @ V, x)
}

# Controls of a system x + f(x): B u, the same wherever the state is; and sum_i g_i(x) u_i.
net steering(; width, m) -> y {
    weight B : [width, m] init normal(0.02)
    weight u : [m] init 0
    y <- u @ B.T
}
net affine(x; m) -> y {
    for i in 0..m {
        weight G[i] : [cols(x), cols(x)] init normal(0.02)
        weight u[i] : [1] init 0
        y <- u[i] * tanh(x @ G[i])
    }
}
