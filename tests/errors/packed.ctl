import llama, tuning, control
model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 32, theta = 10000.0)
control c() on llama.block {
    y <- control.lowrank(h; rank = 2) * sum(pool(h))
}
tune m with c() {
    tokens 16 packed
}
