import llama, control

model m = llama.causal_lm(; vocab = 48, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 40, theta = 10000.0)

control ud(rank = 4) on llama.block {
    y <- control.lowrank(h; rank, scale = 2.0, p = 0.2)
}

tune m with ud() {
    tokens 2 x 12
}
