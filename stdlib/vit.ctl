# vit: vision transformers under the names of their checkpoints. A row of pixels is a patch, its columns in the order of the
# stored kernel: channel, row, column. One image is one sequence; the class token comes before its patches.
# wide: two more frozen maps in the middle of the feed-forward half, at first the identity.
net layer(x; heads, ffn, eps, wide = false) -> y {
    n <- layernorm_before: layernorm(x; eps)
    q <- attention.attention.query: linear(n; biased = true)
    k <- attention.attention.key: linear(n; biased = true)
    v <- attention.attention.value: linear(n; biased = true)
    h <- x
    h <- attention.output.dense: linear(attend(q, k, v; head = cols(x) / heads, causal = false); biased = true)
    m <- layernorm_after: layernorm(h; eps)
    a <- gelu(intermediate.dense: linear(m; n = ffn, biased = true))
    y <- h
    if wide {
        weight mlp.eye1.weight, mlp.eye2.weight : [ffn, ffn] init eye
        b <- a @ mlp.eye1.weight.T
        c <- b @ mlp.eye2.weight.T
        y <- output.dense: linear(c; n = cols(x), biased = true)
    } else {
        y <- output.dense: linear(a; n = cols(x), biased = true)
    }
}
net classifier(
    pixels: patch, label: id per sequence;
    classes = 1000, patch = 768, positions = 197, dim = 768, depth = 12, heads = 12, ffn = 3072, eps = 1e-12, wide = false
) -> logits, loss {
    weight vit.embeddings.cls_token : [dim]
    weight vit.embeddings.position_embeddings : [positions, dim] init normal(0.02)
    p <- vit.embeddings.patch_embeddings.projection: linear(pixels; n = dim, biased = true)
    t = prepend(vit.embeddings.cls_token, p)
    s[0] <- t
    s[0] <- take(vit.embeddings.position_embeddings, position(t))
    for i in 0..depth {
        s[i + 1] <- vit.encoder.layer[i]: layer(s[i]; ..)
    }
    t1 <- vit.layernorm: layernorm(first(s[depth]); eps)
    logits <- classifier: linear(t1; n = classes, biased = true)
    loss <- cross_entropy(logits, label)
}
