# RoBERTa-base's shapes, classifying sequences: control behind the norms, LoRA and DoRA on query and value; the head is trained too.
import roberta, bert_tuning

model base = roberta.classifier(; classes = 2)

tune ud = base with bert_tuning.ud(rank = 16), bert_tuning.head() {
    tokens 16 x 128
    compute bf16
    adamw(; lr = 5e-4, warmup = 100, clip = 1.0)
}
tune double = base with bert_tuning.double(rank = 16), bert_tuning.head() {
    tokens 16 x 128
    compute bf16
    adamw(; lr = 5e-4, warmup = 100, clip = 1.0)
}
tune lora = base with bert_tuning.lora_qv(rank = 8, alpha = 16), bert_tuning.head() {
    tokens 16 x 128
    compute bf16
    adamw(; lr = 5e-4, warmup = 100, clip = 1.0)
}
tune dora = base with bert_tuning.dora_qv(rank = 8, alpha = 16), bert_tuning.head() {
    tokens 16 x 128
    compute bf16
    adamw(; lr = 5e-4, warmup = 100, clip = 1.0)
}
tune full = base with bert_tuning.full() {
    tokens 16 x 128
    compute bf16
    adamw(; lr = 2e-5, warmup = 100, clip = 1.0)
}
