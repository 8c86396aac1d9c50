# bert: BERT under the names of its checkpoints; roberta takes its layers from here. Norms stand behind the sums. A document's
# padding is a document of its own, which attention never shows to it.
net layer(x; heads, ffn, eps, p = 0.0) -> y {
    q <- attention.self.query: linear(x; biased = true)
    k <- attention.self.key: linear(x; biased = true)
    v <- attention.self.value: linear(x; biased = true)
    r <- x
    r <- drop(attention.output.dense: linear(attend(q, k, v; head = cols(x) / heads, causal = false); biased = true); p)
    h <- attention.output.LayerNorm: layernorm(r; eps)
    a <- gelu(intermediate.dense: linear(h; n = ffn, biased = true))
    f <- h
    f <- drop(output.dense: linear(a; n = cols(x), biased = true); p)
    y <- output.LayerNorm: layernorm(f; eps)
}
# start: the row of position_embeddings for the first token. types: 0 where all are of kind 0.
net embeddings(ids, types; vocab, dim, positions, kinds, start, eps, p = 0.0) -> y {
    e <- word_embeddings: embedding(ids; n = vocab, dim)
    e <- position_embeddings: embedding(position(ids) + start; n = positions, dim)
    e <- token_type_embeddings: embedding(types; n = kinds, dim)
    y <- drop(LayerNorm: layernorm(e; eps); p)
}
net encoder(ids, types; vocab, dim, depth, heads, ffn, positions, kinds, start, eps, p = 0.0) -> y {
    s[0] <- embeddings: embeddings(ids, types; ..)
    for i in 0..depth {
        s[i + 1] <- encoder.layer[i]: layer(s[i]; ..)
    }
    y <- s[depth]
}
net classifier(
    ids: id, types: id, label: id per sequence;
    classes = 2, vocab = 30522, dim = 768, depth = 12, heads = 12, ffn = 3072, positions = 512, kinds = 2, eps = 1e-12, p = 0.0
) -> logits, loss {
    y <- bert: encoder(ids, types; start = 0, ..)
    t <- tanh(bert.pooler.dense: linear(first(y); biased = true))
    logits <- classifier: linear(drop(t; p); n = classes, biased = true)
    loss <- cross_entropy(logits, label)
}
net masked_lm(
    ids: id, types: id, labels: id;
    vocab = 30522, dim = 768, depth = 12, heads = 12, ffn = 3072, positions = 512, kinds = 2, eps = 1e-12, p = 0.0
) -> logits, loss {
    y <- bert: encoder(ids, types; start = 0, ..)
    t <- cls.predictions.transform.LayerNorm: layernorm(gelu(cls.predictions.transform.dense: linear(y; biased = true)); eps)
    weight cls.predictions.bias : [vocab]
    logits <- t @ bert.embeddings.word_embeddings.weight.T
    logits <- cls.predictions.bias
    loss <- cross_entropy(logits, labels)          # labels of tokens that are not masked: -100
}
