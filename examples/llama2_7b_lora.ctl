# LLaMA2-7B by its shapes: LoRA on query, key, value, up and down, dropout 0.05. No weights are needed to plan.
import llama, tuning

model m = llama.causal_lm(; vocab = 32000, dim = 4096, depth = 32, heads = 32, kv_heads = 32, ffn = 11008, theta = 10000.0)

tune m with tuning.lora_qkvud() {
    tokens 16 x 256
    compute bf16
}
