# The shapes of tools/gpu/cases.py's "tiny", for the test of tools/gpu/check.
import llama, control

control bare() on llama.decoder {
    s[0] <- bare: control.offset(; width = dim)
}

model m = llama.causal_lm(; vocab = 97, dim = 32, depth = 3, heads = 4, kv_heads = 2, ffn = 96, theta = 10000.0)

tune m with bare() {
    tokens 4 x 16
    adamw(; lr = 1e-3)
}
