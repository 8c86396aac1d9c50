# A seed that compiles in a moment and has one of everything.
import llama, control, tuning

fn half(x) = 0.5 * x
net tiny(ids: id, labels: id; vocab = 8, dim = 8, wide = true) -> logits, loss {
    e <- embed: embedding(ids; n = vocab, dim)
    s[0] <- e
    for i in 0..2 {
        s[i + 1] <- layers[i]: llama.block(s[i]; heads = 2, kv_heads = 1, ffn = 8, theta = 10.0, eps = 1e-5)
    }
    if wide and vocab > 4 {
        y <- half(norm: layernorm(s[2])) * 2
    } else {
        y <- s[2]
    }
    logits <- head: linear(y; n = vocab, biased = true)
    loss <- cross_entropy(logits, labels)
}
control mine(rank = 2) on llama.block {
    y <- extra: control.lowrank(h; rank, p = 0.1)
    mlp.y => control.houlsby(; rank)
    self_attn.{q_proj, v_proj}.weight ~ control.dora(; rank, alpha = 2 * rank)
    self_attn.k_proj.y <- control.offset(; width = cols(self_attn.k_proj.y))
}
control rest() on tiny {
    train **.bias, head.**
    freeze norm.**
    s[2] <- control.lowrank(layers[0].x; rank = 1)
}
model m = tiny(; dim = 8)
tune m with mine(rank = 2), rest() {
    tokens 2x4
    compute f32
    adamw(; lr = 1e-3, clip = 1.0)
}
