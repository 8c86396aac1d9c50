# The frozen model's own step: one vector is trained, below all blocks. What a method's step takes more is the controls' own time.
import llama, control

control bare() on llama.decoder {
    s[0] <- bare: control.offset(; width = dim)
}

model m = llama.causal_lm(; vocab = 128256, dim = 4096, depth = 32, heads = 32, kv_heads = 8, ffn = 14336, theta = 500000.0)

tune m with bare() {
    tokens 16 x 256
    compute bf16
}
