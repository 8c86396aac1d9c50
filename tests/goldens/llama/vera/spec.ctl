import llama, control

model m = llama.causal_lm(; vocab = 48, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 40, theta = 10000.0)

control vera(rank = 4) on llama.decoder {
    weight vera_A : [rank, dim] init uniform(1 / sqrt(dim))
    weight vera_B : [dim, rank] init uniform(1 / sqrt(rank))
    freeze vera_A, vera_B
    layers[*].self_attn.{q_proj, v_proj}.weight ~ control.vera(vera_A, vera_B)
}

tune m with vera() {
    tokens 2 x 12
}
