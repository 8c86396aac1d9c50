import bert, bert_tuning

model m = bert.classifier(; classes = 3, vocab = 48, dim = 32, depth = 2, heads = 4, ffn = 40, positions = 20)

tune m with bert_tuning.double(rank = 4), bert_tuning.bert_head() {
    tokens 2 x 12
}
