# A small RoBERTa that learns classes of texts, byte by byte: lines {"text": "..", "label": 1} of a .jsonl file. With the
# vocabulary of a checkpoint, and a token file of tools/tokenize as --data, it is the published model.
#   ctlc train examples/classifier.ctl --data reviews.jsonl --out classes
import roberta

control everything() on roberta.classifier {
    train **
}
model small = roberta.classifier(; classes = 2, vocab = 258, dim = 32, depth = 1, heads = 4, ffn = 64, positions = 40)

tune small with everything() {
    tokens 16 x 32                                 # 16 texts a step, each of at most 30 bytes and the two marks
    adamw(; lr = 3e-3, warmup = 10, clip = 1.0)
}
