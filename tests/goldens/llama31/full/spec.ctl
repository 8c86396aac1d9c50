import llama, tuning

model m = llama.causal_lm(; vocab = 48, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 40, theta = 500.0, rope_factor = 8.0, rope_low = 1.0, rope_high = 4.0, rope_context = 16)

tune m with tuning.full() {
    tokens 2 x 12
}
