import llama, tuning

model m = llama.causal_lm(; vocab = 11, dim = 16, depth = 2, heads = 4, kv_heads = 2, ffn = 24, theta = 100.0)
tune m with tuning.full(), tuning.dora_qkvud(rank = 2) {
    tokens 2 x 4
}
