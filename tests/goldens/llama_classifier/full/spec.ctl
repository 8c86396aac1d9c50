import llama, tuning

model m = llama.classifier(;
    classes = 3, vocab = 48, dim = 32, depth = 1, heads = 4, kv_heads = 2, ffn = 40, theta = 10000.0, eps = 1e-5
)

tune m with tuning.classifier_full() {
    tokens 2 x 12
}
