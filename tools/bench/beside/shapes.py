"""The models and methods of side_by_side: for PyTorch a configuration of transformers and targets of PEFT, for ctlc a spec.
Nothing heavy is imported here, so that the process that waits stays small."""

LLAMA = dict(vocab_size=32000, hidden_size=768, intermediate_size=3072, num_attention_heads=12,
             num_key_value_heads=12, max_position_embeddings=2048, rms_norm_eps=1e-5)
ROBERTA = dict(vocab_size=50265, hidden_size=768, intermediate_size=3072, num_attention_heads=12,
               max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=2,
               hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0)
DEPTH = 12
RATE = 1e-4  # of AdamW, without decay and clipping

SPECS = {
    "llama160m": """import llama, tuning

model m = llama.causal_lm(; vocab = 32000, dim = 768, depth = 12, heads = 12, kv_heads = 12, ffn = 3072, theta = 10000.0)

tune lora = m with tuning.lora_qkvud(rank = 32, alpha = 64, p = 0) {
    tokens 8 x 128
    adamw(; lr = 1e-4)
}
tune dora = m with tuning.dora_qkvud(rank = 32, alpha = 64, p = 0) {
    tokens 8 x 128
    adamw(; lr = 1e-4)
}
tune control = m with tuning.ud(rank = 64) {
    tokens 8 x 128
    adamw(; lr = 1e-4)
}
""",
    "roberta_base": """import roberta, bert_tuning

model m = roberta.classifier()

tune lora = m with bert_tuning.lora_qv(rank = 8, alpha = 16), bert_tuning.head() {
    tokens 8 x 128
    adamw(; lr = 1e-4)
}
tune dora = m with bert_tuning.dora_qv(rank = 8, alpha = 16), bert_tuning.head() {
    tokens 8 x 128
    adamw(; lr = 1e-4)
}
tune control = m with bert_tuning.ud(rank = 16), bert_tuning.head() {
    tokens 8 x 128
    adamw(; lr = 1e-4)
}
""",
}
MODELS = {"llama160m": ("llama", LLAMA), "roberta_base": ("roberta", ROBERTA)}
METHODS = ["lora", "dora", "control"]
TARGETS = {"llama": (["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"], 32, 64), "roberta": (["query", "value"], 8, 16)}
CONTROL_RANK = {"llama": 64, "roberta": 16}
