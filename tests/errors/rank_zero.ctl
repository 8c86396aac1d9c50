import llama, tuning, control
model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 32, theta = 10000.0)
tune m with tuning.double(rank = 0) {
    tokens 2 x 2
}
