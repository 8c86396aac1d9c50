# LLaMA2-7B by its shapes alone: what four methods take, before any weight is at hand. `ctlc plan --tune NAME` prints the bytes.
import llama, tuning

model l2 = llama.causal_lm(; vocab = 32000, dim = 4096, depth = 32, heads = 32, kv_heads = 32, ffn = 11008, theta = 10000.0)

tune lora = l2 with tuning.lora_qkvud() {
    tokens 16 x 256
    compute bf16
}
tune dora = l2 with tuning.dora_qkvud() {
    tokens 16 x 256
    compute bf16
}
tune control_lora = l2 with tuning.ud(), tuning.lora_qkv() {
    tokens 16 x 256
    compute bf16
}
tune double = l2 with tuning.double() {
    tokens 16 x 256
    compute bf16
}
