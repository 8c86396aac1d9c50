import llama, control

control biased_lora() on llama.block {
    self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank = 4, alpha = 8)
    train self_attn.{q_proj, v_proj}.bias
}
model m = llama.causal_lm(;
    vocab = 48, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 40, theta = 10000.0, eps = 1e-6, biased = true
)

tune m with biased_lora() {
    tokens 2 x 12
}
