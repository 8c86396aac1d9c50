# ViT-B/16's shapes: 196 patches of 16 x 16 pixels in three channels. `wide` puts two more frozen maps into the middle of each
# feed-forward half, where control still takes one pair of factors, and LoRA one for each of four maps.
import vit, vit_tuning

model base = vit.classifier(; classes = 100)
model wide = vit.classifier(; classes = 100, wide = true)

tune ud = base with vit_tuning.ud(rank = 16), vit_tuning.head() {
    tokens 32 x 196                                # patches: the class token is not counted
    compute bf16
    adamw(; lr = 1e-3, warmup = 100, clip = 1.0)
}
tune lora = base with vit_tuning.lora_qv(rank = 8, alpha = 16), vit_tuning.head() {
    tokens 32 x 196
    compute bf16
    adamw(; lr = 1e-3, warmup = 100, clip = 1.0)
}
tune wide_ud = wide with vit_tuning.ud(rank = 16), vit_tuning.head() {
    tokens 32 x 196
    compute bf16
    adamw(; lr = 1e-3, warmup = 100, clip = 1.0)
}
tune wide_lora = wide with vit_tuning.lora_wide(rank = 1, alpha = 2), vit_tuning.head() {
    tokens 32 x 196
    compute bf16
    adamw(; lr = 1e-3, warmup = 100, clip = 1.0)
}
