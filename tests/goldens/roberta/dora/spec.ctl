import roberta, bert_tuning

model m = roberta.classifier(; classes = 3, vocab = 48, dim = 32, depth = 2, heads = 4, ffn = 40, positions = 20, eps = 1e-12)

tune m with bert_tuning.dora_qv(rank = 4, alpha = 8), bert_tuning.head() {
    tokens 2 x 12
}
