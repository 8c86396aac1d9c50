# LLaMA3-8B by its shapes alone: what four methods take, before any weight is at hand. `ctlc plan --tune NAME` prints the bytes.
import llama, tuning

model l3 = llama.causal_lm(; vocab = 128256, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 500000.0)

tune lora = l3 with tuning.lora_qkvud() {
    tokens 16 x 256
    compute bf16
}
tune dora = l3 with tuning.dora_qkvud() {
    tokens 16 x 256
    compute bf16
}
tune control_lora = l3 with tuning.ud(), tuning.lora_qkv() {
    tokens 16 x 256
    compute bf16
}
tune double = l3 with tuning.double() {
    tokens 16 x 256
    compute bf16
}
