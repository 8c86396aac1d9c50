# gpt2_tuning: methods by name for GPT-2. Give head() beside another to train a classifier's head.
import gpt2, control

control double(rank = 64) on gpt2.block {
    h <- attn_control: control.lowrank(x; rank)
    y <- control.lowrank(h; rank)
}
control ud(rank = 64) on gpt2.block {
    y <- control.lowrank(h; rank)
}
# c_attn holds q, k and v.
control lora(rank = 8, alpha = 16, p = 0.0) on gpt2.block {
    attn.c_attn.weight ~ control.lora(; rank, alpha, p)
}
control dora(rank = 8, alpha = 16, p = 0.0) on gpt2.block {
    attn.c_attn.weight ~ control.dora(; rank, alpha, p)
}
control houlsby(rank = 64) on gpt2.block {
    attn.y => attn_adapter: control.houlsby(; rank)
    mlp.y => mlp_adapter: control.houlsby(; rank)
}
control bitfit() on gpt2.block {
    train **.bias
}
control full() on gpt2.causal_lm {
    train **
}
control head() on gpt2.classifier {
    train score.**
}
control classifier_full() on gpt2.classifier {
    train **
}
