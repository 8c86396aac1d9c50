# LLaMA3-8B by its shapes: parallel control around both halves of each block. No weights are needed to plan.
import llama, tuning

model m = llama.causal_lm(; vocab = 128256, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 500000.0)

tune m with tuning.double() {
    tokens 16 x 256
    compute bf16
}
