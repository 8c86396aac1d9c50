import llama, tuning, control
model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 32, theta = 10000.0)
control mine(rank = 2) on llama.block {
    y <- control.lowrank(h; rank)
}
tune m with mine(rank = 1.5) {
    tokens 2 x 2
}
