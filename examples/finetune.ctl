# The model of pretrain.ctl, frozen, with the four methods that the demonstration compares. Every tune block trains on the
# same tokens with the same schedule; only the control differs.
import llama, tuning

model base = llama.causal_lm(; vocab = 258, dim = 192, depth = 4, heads = 6, kv_heads = 6, ffn = 512, theta = 10000.0)

tune lora = base with tuning.lora_qkvud(rank = 8, alpha = 16) {
    tokens 16 x 128
    compute f32
    adamw(; lr = 5e-3, warmup = 10, clip = 1.0, schedule = cosine)
}
tune dora = base with tuning.dora_qkvud(rank = 8, alpha = 16) {
    tokens 16 x 128
    compute f32
    adamw(; lr = 5e-3, warmup = 10, clip = 1.0, schedule = cosine)
}
tune control_lora = base with tuning.ud(rank = 16), tuning.lora_qkv(rank = 8, alpha = 16) {
    tokens 16 x 128
    compute f32
    adamw(; lr = 5e-3, warmup = 10, clip = 1.0, schedule = cosine)
}
tune double = base with tuning.double(rank = 16) {
    tokens 16 x 128
    compute f32
    adamw(; lr = 5e-3, warmup = 10, clip = 1.0, schedule = cosine)
}
