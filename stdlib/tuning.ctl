# tuning: methods by name. `tune m with tuning.ud(rank = 64), tuning.lora_qkv()` takes them; a copy in your own
# file is the way to change one. LLaMA's projections are q, k, v (attention) and u, d (feed-forward up and down).
import llama, linear_systems, control

# Parallel control: new edges between states. double: around both halves of a block; ud: around the feed-forward half.
control double(rank = 64) on llama.block {
    h <- attn: control.lowrank(x; rank)
    y <- control.lowrank(h; rank)
}
control ud(rank = 64) on llama.block {
    y <- control.lowrank(h; rank)
}

# On weights: low rank.
control lora_qkv(rank = 32, alpha = 64, p = 0.05) on llama.block {
    self_attn.{q_proj, k_proj, v_proj}.weight ~ control.lora(; rank, alpha, p)
}
control lora_qkvud(rank = 32, alpha = 64, p = 0.05) on llama.block {
    self_attn.{q_proj, k_proj, v_proj}.weight ~ control.lora(; rank, alpha, p)
    mlp.{up_proj, down_proj}.weight ~ control.lora(; rank, alpha, p)
}
control dora_qkvud(rank = 32, alpha = 64, p = 0.05) on llama.block {
    self_attn.{q_proj, k_proj, v_proj}.weight ~ control.dora(; rank, alpha, p)
    mlp.{up_proj, down_proj}.weight ~ control.dora(; rank, alpha, p)
}
control rslora(rank = 32, alpha = 64) on llama.block {
    self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha, scale = alpha / sqrt(rank))
}
# LoRA with A frozen at its first values.
control lora_fa(rank = 8, alpha = 16) on llama.block {
    self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha)
    freeze self_attn.{q_proj, v_proj}.lora_A.**
}

# In series and beside.
control houlsby(rank = 64) on llama.block {
    self_attn.y => attn_adapter: control.houlsby(; rank)
    mlp.y => mlp_adapter: control.houlsby(; rank)
}
control parallel_adapter(rank = 64, scale = 4.0) on llama.block {
    y <- adapter: control.bottleneck(mlp.x; rank, scale)
}
control ia3() on llama.block {
    self_attn.{k_proj, v_proj}.y => control.ia3()
    mlp.down_proj.x => control.ia3()
}
control biases() on llama.block {                  # LLaMA has none
    self_attn.q_proj.y <- control.offset(; width = cols(self_attn.q_proj.y))
}

# From block to block, and into the hidden states of the feed-forward half.
control cross(rank = 16, hop = 4) on llama.decoder {
    for i in 0..depth - hop {
        layers[i + hop].y <- cross: control.lowrank(layers[i].x; rank)
    }
}
control wide(rank = 16) on llama.block {
    mlp.a <- control.lowrank(x; rank, width = cols(mlp.a))
}

# Control-affine systems: the sum of u[i] times a fixed nonlinear field.
control affine(m = 4) on linear_systems.residual {
    for i in 0..depth {
        s[i + 1] <- affine[i]: control.affine(s[i]; m)
    }
}

# Everything.
control full() on llama.causal_lm {
    train **
}
