# Decoders by their published shapes: what tuning them takes, before any weight is at hand (`ctlc plan --tune NAME`).
import llama, gpt2, tuning, gpt2_tuning

model gpt2_small = gpt2.causal_lm()
model qwen2_05b = llama.causal_lm(;
    vocab = 151936, dim = 896, depth = 24, heads = 14, kv_heads = 2, ffn = 4864, theta = 1000000.0, eps = 1e-6, biased = true,
    tied = true
)
model qwen3_06b = llama.causal_lm(;
    vocab = 151936, dim = 1024, depth = 28, heads = 16, kv_heads = 8, head = 128, ffn = 3072, theta = 1000000.0, eps = 1e-6,
    normed = true, tied = true
)
model mistral_7b = llama.causal_lm(;
    vocab = 32000, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 10000.0, window = 4096
)
model llama31_8b = llama.causal_lm(;
    vocab = 128256, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 500000.0, rope_factor = 8.0
)

tune gpt2 = gpt2_small with gpt2_tuning.lora() {
    tokens 8 x 128
    compute bf16
}
tune qwen2 = qwen2_05b with tuning.double(rank = 64) {
    tokens 4 x 512
    compute bf16
}
tune qwen3 = qwen3_06b with tuning.double(rank = 64) {
    tokens 4 x 512
    compute bf16
}
tune mistral = mistral_7b with tuning.ud(), tuning.lora_qkv() {
    tokens 4 x 512
    compute bf16
}
tune llama31 = llama31_8b with tuning.ud(), tuning.lora_qkv() {
    tokens 4 x 512
    compute bf16
}
