# A small LLaMA over bytes, frozen, tuned by parallel control around both halves of every block.
import llama, tuning

model tiny = llama.causal_lm(; vocab = 258, dim = 128, depth = 4, heads = 4, kv_heads = 2, ffn = 384, theta = 10000.0)

tune tiny with tuning.double(rank = 8) {
    tokens 8 x 128                                 # 8 sequences of 128 tokens a step
    compute f32
    adamw(; lr = 1e-3, warmup = 20, clip = 1.0)
}
