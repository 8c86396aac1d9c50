# gpt2: GPT-2 under the names of its checkpoints. Its linear maps are stored [in, out] (Conv1D), q, k and v as one; the head
# is the embedding.
net conv1d(x; n = cols(x)) -> y {
    weight weight : [cols(x), n] init normal(0.02)
    weight bias : [n] init 0
    y <- x @ weight
    y <- bias
}
net attention(x; heads) -> y {
    w = cols(x)
    a <- c_attn: conv1d(x; n = 3 * w)
    y <- c_proj: conv1d(
        attend(columns(a, 0..w), columns(a, w..2 * w), columns(a, 2 * w..3 * w); head = w / heads, causal = true)
    )
}
net feed_forward(x; ffn) -> y {
    a <- gelu_tanh(c_fc: conv1d(x; n = ffn))
    y <- c_proj: conv1d(a; n = cols(x))
}
net block(x; heads, ffn, eps) -> y {
    h <- x
    h <- attn: attention(ln_1: layernorm(x; eps); heads)
    y <- h
    y <- mlp: feed_forward(ln_2: layernorm(h; eps); ffn)
}
net decoder(ids; vocab, dim, depth, heads, ffn, positions, eps) -> y {
    s[0] <- wte: embedding(ids; n = vocab, dim)
    s[0] <- wpe: embedding(position(ids); n = positions, dim)
    for i in 0..depth {
        s[i + 1] <- h[i]: block(s[i]; ..)
    }
    y <- ln_f: layernorm(s[depth]; eps)
}
net causal_lm(
    ids: id, labels: id;
    vocab = 50257, dim = 768, depth = 12, heads = 12, ffn = 4 * dim, positions = 1024, eps = 1e-5
) -> logits, loss {
    y <- transformer: decoder(ids; ..)
    logits <- y @ transformer.wte.weight.T
    loss <- cross_entropy(logits, labels)
}

# One label a sequence, from the last token that is no padding.
net classifier(
    ids: id, label: id per sequence;
    classes = 2, vocab = 50257, dim = 768, depth = 12, heads = 12, ffn = 4 * dim, positions = 1024, eps = 1e-5
) -> logits, loss {
    y <- transformer: decoder(ids; ..)
    logits <- score: linear(take(y, length(first(y)) - 1); n = classes)
    loss <- cross_entropy(logits, label)
}
