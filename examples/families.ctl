# A small network of every family in the library, each with a control: all run in a moment, `ctlc plan --tune NAME` says what
# they take, `ctlc graph --tune NAME` draws them.
import llama, gpt2, bert, roberta, vit, linear_systems, tuning, gpt2_tuning, bert_tuning, vit_tuning

model llama_small = llama.causal_lm(; vocab = 258, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 48, theta = 10000.0)
model labelling = llama.classifier(;
    vocab = 258, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 48, theta = 10000.0, classes = 3
)
model qwen3_small = llama.causal_lm(;
    vocab = 258, dim = 32, depth = 2, heads = 4, kv_heads = 2, head = 16, ffn = 48, theta = 10000.0, normed = true, tied = true
)
model mistral_small = llama.causal_lm(;
    vocab = 258, dim = 32, depth = 2, heads = 4, kv_heads = 2, ffn = 48, theta = 10000.0, window = 5, rope_factor = 4.0,
    rope_context = 16
)
model gpt2_small = gpt2.causal_lm(; vocab = 258, dim = 32, depth = 2, heads = 4, positions = 16)
model bert_small = bert.classifier(; vocab = 258, dim = 32, depth = 2, heads = 4, ffn = 48, positions = 16, classes = 3)
model roberta_small = roberta.classifier(; vocab = 258, dim = 32, depth = 2, heads = 4, ffn = 48, positions = 18, classes = 3)
model masked_small = roberta.masked_lm(; vocab = 258, dim = 32, depth = 2, heads = 4, ffn = 48, positions = 18)
model vit_small = vit.classifier(; patch = 12, positions = 17, dim = 32, depth = 2, heads = 4, ffn = 48, classes = 3)
model chain = linear_systems.deep_linear(; depth = 4, d = 8)
model system = linear_systems.residual(; depth = 4, d = 8)

tune llama = llama_small with tuning.double(rank = 4) {
    tokens 4 x 16
}
tune mixture = llama_small with tuning.mixture(rank = 4, k = 1) {
    tokens 4 x 16
}
tune vera = llama_small with tuning.vera(rank = 16) {
    tokens 4 x 16
}
tune loreft = llama_small with tuning.loreft() {
    tokens 4 x 16
}
tune ladder = llama_small with tuning.ladder(reduce = 2, heads = 2) {
    tokens 4 x 16
}
tune bypass = llama_small with tuning.bypass(rank = 4) {
    tokens 4 x 16
}
tune label = labelling with tuning.lora_qkv(rank = 4) {
    tokens 4 x 16
}
tune qwen3 = qwen3_small with tuning.lora_qkv(rank = 4) {
    tokens 4 x 16
}
tune mistral = mistral_small with tuning.dora_qkvud(rank = 4) {
    tokens 4 x 16
}
tune gpt2 = gpt2_small with gpt2_tuning.double(rank = 4) {
    tokens 4 x 16
}
tune bert = bert_small with bert_tuning.lora_qv(rank = 4), bert_tuning.bert_head() {
    tokens 4 x 16
}
tune roberta = roberta_small with bert_tuning.ud(rank = 4), bert_tuning.head() {
    tokens 4 x 16
}
tune masked = masked_small with bert_tuning.bitfit() {
    tokens 4 x 16
}
tune vit = vit_small with vit_tuning.ud(rank = 4), vit_tuning.head() {
    tokens 4 x 16
}
tune mixing = vit_small with vit_tuning.mixing(rank = 4), vit_tuning.head() {
    tokens 4 x 16
}
tune lora = chain with tuning.linear_lora(rank = 2) {
    tokens 16 x 1
}
tune steering = system with tuning.steering(m = 2) {
    tokens 16 x 1
}
tune affine = system with tuning.affine(m = 2) {
    tokens 16 x 1
}
