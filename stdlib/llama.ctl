# llama: LLaMA 1, 2, 3 and their like, under the names of the published checkpoints: Mistral (window), Qwen2 (biased:
# of q, k and v), Qwen3 (normed: q and k of each head), LLaMA 3.1 and later (rope_factor and its like, as in nn.rope).
net attention(
    x;
    heads, kv_heads, head = cols(x) / heads, theta, eps = 1e-6, biased = false, o_biased = false, normed = false, window = 0,
    rope_factor = 1.0, rope_low = 1.0, rope_high = 4.0, rope_context = 8192
) -> y {
    if normed {
        q <- rope(join(q_norm: rmsnorm(split(q_proj: linear(x; n = heads * head, biased), head); eps), heads * head); ..)
        k <- rope(join(k_norm: rmsnorm(split(k_proj: linear(x; n = kv_heads * head, biased), head); eps), kv_heads * head); ..)
    } else {
        q <- rope(q_proj: linear(x; n = heads * head, biased); ..)
        k <- rope(k_proj: linear(x; n = kv_heads * head, biased); ..)
    }
    v <- v_proj: linear(x; n = kv_heads * head, biased)
    y <- o_proj: linear(attend(q, k, v; head, causal = true, window); n = cols(x), biased = o_biased)
}
net swiglu(x; ffn, mlp_biased = false) -> y {
    a <- silu(gate_proj: linear(x; n = ffn, biased = mlp_biased)) * (up_proj: linear(x; n = ffn, biased = mlp_biased))
    y <- down_proj: linear(a; n = cols(x), biased = mlp_biased)
}
net block(
    x;
    heads, kv_heads, head = cols(x) / heads, ffn, theta, eps, biased = false, o_biased = false, mlp_biased = false,
    normed = false, window = 0, rope_factor = 1.0, rope_low = 1.0, rope_high = 4.0, rope_context = 8192
) -> y {
    h <- x                                         # the residual: an identity edge
    h <- self_attn: attention(input_layernorm: rmsnorm(x; eps); ..)
    y <- h
    y <- mlp: swiglu(post_attention_layernorm: rmsnorm(h; eps); ..)
}
net decoder(
    ids;
    vocab, dim, depth, heads, kv_heads, head = dim / heads, ffn, theta, eps, biased = false, o_biased = false,
    mlp_biased = false, normed = false, window = 0, rope_factor = 1.0, rope_low = 1.0, rope_high = 4.0, rope_context = 8192
) -> y {
    s[0] <- embed_tokens: embedding(ids; n = vocab, dim)
    for i in 0..depth {
        s[i + 1] <- layers[i]: block(s[i]; ..)
    }
    y <- norm: rmsnorm(s[depth]; eps)
}
net causal_lm(
    ids: id, labels: id;
    vocab, dim, depth, heads, kv_heads, head = dim / heads, ffn, theta, eps = 1e-5, biased = false, tied = false,
    o_biased = false, mlp_biased = false, normed = false, window = 0, rope_factor = 1.0, rope_low = 1.0, rope_high = 4.0,
    rope_context = 8192
) -> logits, loss {
    y <- model: decoder(ids; ..)
    if tied {
        logits <- y @ model.embed_tokens.weight.T
    } else {
        logits <- lm_head: linear(y; n = vocab)
    }
    loss <- cross_entropy(logits, labels)          # mean over the rows whose label is not -100
}

# One label a sequence, from the last token that is no padding.
net classifier(
    ids: id, label: id per sequence;
    classes = 2, vocab, dim, depth, heads, kv_heads, head = dim / heads, ffn, theta, eps = 1e-5, biased = false,
    o_biased = false, mlp_biased = false, normed = false, window = 0, rope_factor = 1.0, rope_low = 1.0, rope_high = 4.0,
    rope_context = 8192
) -> logits, loss {
    y <- model: decoder(ids; ..)
    logits <- score: linear(take(y, length(first(y)) - 1); n = classes)
    loss <- cross_entropy(logits, label)
}
