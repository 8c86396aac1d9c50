import llama, linear_systems
model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 32, theta = 10000.0)
control c() on linear_systems.layer {
    y <- x
}
tune m with c() {
    tokens 2 x 8
}
