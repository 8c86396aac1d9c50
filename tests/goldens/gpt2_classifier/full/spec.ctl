import gpt2, gpt2_tuning

model m = gpt2.classifier(; classes = 3, vocab = 48, dim = 32, depth = 1, heads = 4, positions = 20)

tune m with gpt2_tuning.classifier_full() {
    tokens 2 x 12
}
