import llama, control
control c(rank = 2) on llama.decoder {
    layers[*].mlp.{up, down}.weight ~ control.lora(; rank, alpha = 4)
    train embed.weight
}
model m = llama.causal_lm(; vocab = 258, dim = 16, depth = 2, heads = 2, kv_heads = 1, ffn = 32, theta = 10000.0)
tune m with c() {
    tokens 2 x 8
}
