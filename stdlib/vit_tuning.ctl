# vit_tuning: methods by name for vision transformers. Give head() beside another to train the head.
import vit, control

# Parallel control, with biases: from what the half of the layer begins with, before its norm.
control double(rank = 16) on vit.layer {
    h <- attn_controller: control.bottleneck_linear(x; rank)
    y <- controller: control.bottleneck_linear(h; rank)
}
control ud(rank = 16) on vit.layer {
    y <- controller: control.bottleneck_linear(h; rank)
}
# Over the patches of an image.
control mixing(rank = 8) on vit.layer {
    y <- mix: control.mixing(h; rank)
}

# On weights. lora_wide: on the four maps of a wide feed-forward half.
control lora_qv(rank = 8, alpha = 16, p = 0.0) on vit.layer {
    attention.attention.{query, value}.weight ~ control.lora(; rank, alpha, p)
}
control dora_qv(rank = 8, alpha = 16, p = 0.0) on vit.layer {
    attention.attention.{query, value}.weight ~ control.dora(; rank, alpha, p)
}
control lora_ud(rank = 8, alpha = 16, p = 0.0) on vit.layer {
    intermediate.dense.weight ~ control.lora(; rank, alpha, p)
    output.dense.weight ~ control.lora(; rank, alpha, p)
}
control lora_wide(rank = 1, alpha = 2, p = 0.0) on vit.layer {
    intermediate.dense.weight ~ control.lora(; rank, alpha, p)
    output.dense.weight ~ control.lora(; rank, alpha, p)
    mlp.eye1.weight ~ mlp.eye1: control.lora(; rank, alpha, p)
    mlp.eye2.weight ~ mlp.eye2: control.lora(; rank, alpha, p)
}

# In series behind both halves; beside the feed-forward half, behind its norm (AdaptFormer).
control houlsby(rank = 64) on vit.layer {
    attention.output.dense.y => control.houlsby(; rank)
    output.dense.y => control.houlsby(; rank)
}
control parallel_adapter(rank = 64, scale = 0.1) on vit.layer {
    y <- adapter: control.bottleneck(m; rank, scale)
}

# What the model has itself.
control bitfit() on vit.layer {
    train **.bias
}
control head() on vit.classifier {
    train classifier.**
}
control full() on vit.classifier {
    train **
}
