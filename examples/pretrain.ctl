# A small LLaMA over bytes, every weight trained from random numbers. tools/demo pretrains it on licences; finetune.ctl
# then tunes it, frozen, on C headers.
import llama

model base = llama.causal_lm(; vocab = 258, dim = 192, depth = 4, heads = 6, kv_heads = 6, ffn = 512, theta = 10000.0)

control full() on llama.causal_lm {
    train **
}

tune pretrain = base with full() {
    tokens 16 x 128
    compute f32
    adamw(; lr = 2e-3, warmup = 20, clip = 1.0, schedule = cosine, weight_decay = 0.01)
}
