# bert_tuning: methods by name for BERT and RoBERTa, whose layers are the same. Give head() beside another to train the head.
import bert, roberta, control

# Parallel control: added behind the norm, from what the half of the layer begins with. A is drawn from a normal distribution.
control double(rank = 16, scale = 1.0, deviation = 0.02) on bert.layer {
    h <- attn: control.lowrank_normal(x; rank, scale, deviation)
    y <- control.lowrank_normal(h; rank, scale, deviation)
}
control ud(rank = 16, scale = 1.0, deviation = 0.02) on bert.layer {
    y <- control.lowrank_normal(h; rank, scale, deviation)
}

# On weights.
control lora_qv(rank = 8, alpha = 16, p = 0.0) on bert.layer {
    attention.self.{query, value}.weight ~ control.lora(; rank, alpha, p)
}
control dora_qv(rank = 8, alpha = 16, p = 0.0) on bert.layer {
    attention.self.{query, value}.weight ~ control.dora(; rank, alpha, p)
}
control lora(rank = 8, alpha = 16, p = 0.0) on bert.layer {
    attention.self.{query, key, value}.weight ~ control.lora(; rank, alpha, p)
    attention.output.dense.weight ~ control.lora(; rank, alpha, p)
    intermediate.dense.weight ~ control.lora(; rank, alpha, p)
    output.dense.weight ~ control.lora(; rank, alpha, p)
}

# In series behind both halves, before the norms; beside the feed-forward half.
control houlsby(rank = 64) on bert.layer {
    attention.output.dense.y => control.houlsby(; rank)
    output.dense.y => control.houlsby(; rank)
}
control parallel_adapter(rank = 64, scale = 4.0) on bert.layer {
    f <- adapter: control.bottleneck(h; rank, scale)
}

# What the model has itself.
control bitfit() on bert.layer {
    train **.bias
}
control head() on roberta.classifier {
    train classifier.**
}
control bert_head() on bert.classifier {
    train classifier.**, bert.pooler.**
}
control full() on roberta.classifier {
    train **
}
control bert_full() on bert.classifier {
    train **
}
