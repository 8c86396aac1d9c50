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
# On every projection of a block: o and the gate too.
control lora_all(rank = 32, alpha = 64, p = 0.05) on llama.block {
    self_attn.{q_proj, k_proj, v_proj, o_proj}.weight ~ control.lora(; rank, alpha, p)
    mlp.{gate_proj, up_proj, down_proj}.weight ~ control.lora(; rank, alpha, p)
}
control dora_all(rank = 32, alpha = 64, p = 0.05) on llama.block {
    self_attn.{q_proj, k_proj, v_proj, o_proj}.weight ~ control.dora(; rank, alpha, p)
    mlp.{gate_proj, up_proj, down_proj}.weight ~ control.dora(; rank, alpha, p)
}
control rslora(rank = 32, alpha = 64) on llama.block {
    self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha, scale = alpha / sqrt(rank))
}
# LoRA with A frozen at its first values.
control lora_fa(rank = 8, alpha = 16) on llama.block {
    self_attn.{q_proj, v_proj}.weight ~ control.lora(; rank, alpha)
    freeze self_attn.{q_proj, v_proj}.lora_A.**
}

# Two vectors a weight, around low-rank factors that all layers share and that stay as they were drawn.
control vera(rank = 256, d = 0.1) on llama.decoder {
    weight vera_A : [rank, dim] init uniform(1 / sqrt(dim))
    weight vera_B : [dim, rank] init uniform(1 / sqrt(rank))
    freeze vera_A, vera_B
    layers[*].self_attn.{q_proj, v_proj}.weight ~ control.vera(vera_A, vera_B; d)
}

# In series and beside.
control houlsby(rank = 64) on llama.block {
    self_attn.y => attn_adapter: control.houlsby(; rank)
    mlp.y => mlp_adapter: control.houlsby(; rank)
}
control parallel_adapter(rank = 64, scale = 4.0) on llama.block {
    y <- adapter: control.bottleneck(mlp.x; rank, scale)
}
# Beside both halves, on what they read.
control res_tuning(rank = 16) on llama.block {
    h <- attn_tuner: control.bottleneck(self_attn.x; rank)
    y <- mlp_tuner: control.bottleneck(mlp.x; rank)
}
control ia3() on llama.block {
    self_attn.{k_proj, v_proj}.y => control.ia3()
    mlp.down_proj.x => control.ia3()
}
control red() on llama.block {
    mlp.y => control.red()
}
control biases() on llama.block {                  # LLaMA has none
    self_attn.q_proj.y <- control.offset(; width = cols(self_attn.q_proj.y))
}
control loreft(rank = 4, head = 4, tail = 4) on llama.block {
    y => control.loreft(; rank, head, tail)
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

# Each block's low-rank control helps every block: a softmax gate over them, of which k are kept.
control mixture(rank = 8, k = 2) on llama.decoder {
    for j in 0..depth {
        weight A[j] : [rank, dim] init uniform(1 / sqrt(dim))
        weight B[j] : [dim, rank] init 0
    }
    for i in 0..depth {
        weight gate[i] : [depth, dim] init normal(0.02)
        w = top(softmax(layers[i].h @ gate[i].T); k)
        for j in 0..depth {
            layers[i].y <- columns(w, j..j + 1) * ((layers[i].h @ A[j].T) @ B[j].T)
        }
    }
}
# A control over the tokens of a sequence: of a fixed length, and blind to what is to come, so not for causal models.
control mixing(rank = 8) on llama.block {
    y <- mix: control.mixing(h; rank)
}

# A small network beside the frozen one, which nothing trained is upstream of: no gradient runs through it.
control ladder(reduce = 8, heads = 4) on llama.decoder {
    w = dim / reduce
    side[0] <- side_in: linear(s[0]; n = w)
    for i in 0..depth {
        weight mu[i] : [1] init 0
        c[i] <- sigmoid(mu[i]) * (side_down[i]: linear(layers[i].y; n = w))
        c[i] <- (1 - sigmoid(mu[i])) * side[i]
        side[i + 1] <- side_layers[i]: llama.block(
            c[i];
            heads, kv_heads = heads, head = w / heads, ffn = ffn / reduce, theta, eps
        )
    }
    norm.x <- side_up: linear(side[depth]; n = dim)
}
# Res-Tuning's bypass: tuners alone beside the frozen network.
control bypass(rank = 16) on llama.decoder {
    side[0] <- s[0]
    for i in 0..depth {
        weight mu[i] : [1] init 0
        side[i + 1] <- sigmoid(mu[i]) * (across[i]: control.houlsby(layers[i].y; rank))
        side[i + 1] <- (1 - sigmoid(mu[i])) * (along[i]: control.houlsby(side[i]; rank))
    }
    norm.x <- side_up: control.lowrank(side[depth]; rank)
}

# Linear and residual systems: LoRA; B u at every time; the sum of u[i] times a fixed nonlinear field.
control linear_lora(rank = 2) on linear_systems.deep_linear {
    layers[*].weight ~ control.lora(; rank, alpha = rank)
}
control steering(m = 4) on linear_systems.residual {
    for i in 0..depth {
        s[i + 1] <- steering[i]: control.steering(; width = d, m)
    }
}
control affine(m = 4) on linear_systems.residual {
    for i in 0..depth {
        s[i + 1] <- affine[i]: control.affine(s[i]; m)
    }
}

# A classifier's head, beside another method; everything.
control head() on llama.classifier {
    train score.**
}
control full() on llama.causal_lm {
    train **
}
control classifier_full() on llama.classifier {
    train **
}
