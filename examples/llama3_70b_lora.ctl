# LLaMA3-70B by its shapes: LoRA on query, key, value, up and down, dropout 0.05. No weights are needed to plan.
import llama, tuning

model m = llama.causal_lm(; vocab = 128256, dim = 8192, depth = 80, heads = 64, kv_heads = 8, ffn = 28672, theta = 500000.0)

tune m with tuning.lora_qkvud() {
    tokens 16 x 256
    compute bf16
}
