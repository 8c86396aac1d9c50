import llama, tuning, control
model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 32, theta = 10000.0)
tune m {
    tokens 2 x 2
    compute fp8
    compute f16
    compute fp16
    compute float16
    compute half
    compute bfloat16
    compute float32
    compute double
}
