import llama, tuning

model m = llama.causal_lm(; vocab = 48, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 40, theta = 10000.0, eps = 1e-6, biased = true)

tune m with tuning.lora_qkvud(rank = 4, alpha = 8, p = 0) {
    tokens 2 x 12
}
