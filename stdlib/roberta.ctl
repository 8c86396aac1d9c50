# roberta: RoBERTa under the names of its checkpoints: bert's layers, all tokens of one kind, positions from 2 on.
import bert

net classifier(
    ids: id, label: id per sequence;
    classes = 2, vocab = 50265, dim = 768, depth = 12, heads = 12, ffn = 3072, positions = 514, kinds = 1, eps = 1e-5, p = 0.0
) -> logits, loss {
    y <- roberta: bert.encoder(ids, 0; start = 2, ..)
    t <- tanh(classifier.dense: linear(drop(first(y); p); biased = true))
    logits <- classifier.out_proj: linear(drop(t; p); n = classes, biased = true)
    loss <- cross_entropy(logits, label)
}
net masked_lm(
    ids: id, labels: id;
    vocab = 50265, dim = 768, depth = 12, heads = 12, ffn = 3072, positions = 514, kinds = 1, eps = 1e-5, p = 0.0
) -> logits, loss {
    y <- roberta: bert.encoder(ids, 0; start = 2, ..)
    t <- lm_head.layer_norm: layernorm(gelu(lm_head.dense: linear(y; biased = true)); eps)
    weight lm_head.bias : [vocab]
    logits <- t @ roberta.embeddings.word_embeddings.weight.T
    logits <- lm_head.bias
    loss <- cross_entropy(logits, labels)          # labels of tokens that are not masked: -100
}
