# llama: LLaMA 1, 2, 3 and their like, under the names of the published checkpoints.
net attention(x; heads, kv_heads, head = cols(x) / heads, theta, biased = false) -> y {
    q <- rope(q_proj: linear(x; n = heads * head, biased); head, theta)
    k <- rope(k_proj: linear(x; n = kv_heads * head, biased); head, theta)
    v <- v_proj: linear(x; n = kv_heads * head, biased)
    y <- o_proj: linear(attend(q, k, v; head, causal = true); n = cols(x))
}
net swiglu(x; ffn) -> y {
    a <- silu(gate_proj: linear(x; n = ffn)) * (up_proj: linear(x; n = ffn))
    y <- down_proj: linear(a; n = cols(x))
}
net block(x; heads, kv_heads, head = cols(x) / heads, ffn, theta, eps, biased = false) -> y {
    h <- x                                         # the residual: an identity edge
    h <- self_attn: attention(input_layernorm: rmsnorm(x; eps); ..)
    y <- h
    y <- mlp: swiglu(post_attention_layernorm: rmsnorm(h; eps); ffn)
}
net decoder(ids; vocab, dim, depth, heads, kv_heads, head = dim / heads, ffn, theta, eps, biased = false) -> y {
    s[0] <- embed_tokens: embedding(ids; n = vocab, dim)
    for i in 0..depth {
        s[i + 1] <- layers[i]: block(s[i]; ..)
    }
    y <- norm: rmsnorm(s[depth]; eps)
}
net causal_lm(ids: id, labels: id; vocab, dim, depth, heads, kv_heads, head = dim / heads, ffn, theta, eps = 1e-5, biased = false, tied = false) -> logits, loss {
    y <- model: decoder(ids; ..)
    if tied {
        logits <- y @ model.embed_tokens.weight.T
    } else {
        logits <- lm_head: linear(y; n = vocab)
    }
    loss <- cross_entropy(logits, labels)          # mean over the rows whose label is not -100
}
