import vit, vit_tuning

model m = vit.classifier(; classes = 3, patch = 48, positions = 7, dim = 32, depth = 2, heads = 4, ffn = 40)

tune m with vit_tuning.double(rank = 4), vit_tuning.head() {
    tokens 2 x 6
}
