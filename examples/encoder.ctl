# A post-norm encoder of RoBERTa-base's shapes: 12 layers of 768, 12 heads, feed-forward 3072, biases everywhere.
# It labels every token. Tuned by LoRA on query and value, or by control beside each layer.
import control

net layer(x; heads, ffn, eps) -> y {
    q <- attention.self.query: linear(x; biased = true)
    k <- attention.self.key: linear(x; biased = true)
    v <- attention.self.value: linear(x; biased = true)
    r <- x
    r <- attention.output.dense: linear(attend(q, k, v; head = cols(x) / heads, causal = false); biased = true)
    h <- attention.output.LayerNorm: layernorm(r; eps)
    f <- h
    f <- output.dense: linear(gelu(intermediate.dense: linear(h; n = ffn, biased = true)); n = cols(x), biased = true)
    y <- output.LayerNorm: layernorm(f; eps)
}

net tagger(ids: id, labels: id; vocab, positions, dim, depth, heads, ffn, classes, eps = 1e-5) -> logits, loss {
    e <- embeddings.word_embeddings: embedding(ids; n = vocab, dim)
    e <- embeddings.position_embeddings: embedding(position(ids); n = positions, dim)
    s[0] <- embeddings.LayerNorm: layernorm(e; eps)
    for i in 0..depth {
        s[i + 1] <- encoder.layer[i]: layer(s[i]; heads, ffn, eps)
    }
    logits <- classifier: linear(s[depth]; n = classes, biased = true)
    loss <- cross_entropy(logits, labels)
}

control lora_qv(rank = 8, alpha = 16, p = 0.0) on layer {
    attention.self.{query, value}.weight ~ control.lora(; rank, alpha, p)
}

control control_ffn(rank = 16) on layer {
    y <- control.lowrank(h; rank)                  # behind the norm: y = LN(FFN(h) + h) + h A B
}

control head() on tagger {
    train classifier.**
}

model base = tagger(; vocab = 50265, positions = 514, dim = 768, depth = 12, heads = 12, ffn = 3072, classes = 9)

tune lora = base with lora_qv(), head() {
    tokens 16 x 128
    compute bf16
    adamw(; lr = 3e-4, warmup = 100, clip = 1.0)
}

tune parallel = base with control_ffn(), head() {
    tokens 16 x 128
    compute bf16
    adamw(; lr = 3e-4, warmup = 100, clip = 1.0)
}
