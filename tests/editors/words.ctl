# What the library has too little of: words that are keywords by their place, every statement and setting, odd numbers.
import control, llama                                  # modules
import nn

fn init(in, on) = in + on * 1e-4 - 0.5e3 and not in < 2 or on >= 3
net weight(x, model: id, per: id per sequence; train = cols(x), if = 2) -> y, freeze {
    weight weight, tokens.with : [train, cols(x)] init normal(0.02)
    weight bare : [3]
    weight <- x @ weight.T
    train: weight(x; init = 1, on = 2, ..)
    for in in 0..if {
        s[in + 1] <- layers[in].a: control.lowrank(store.y; rank = 8)
        if in == 0 {
            y <- x
        } else if in % 2 != 1 {
            y <- -x ^ 2
        } else {
            y <- columns(x, 0..if)
        }
    }
    freeze <- true * x + pi
}
net rows(x: d, per: id per sequence; d) -> y {
    y <- first(x)
}
control net(rank = 8) on llama.block {
    self_attn.{q_proj, k_proj.weight}.weight ~ a.b: control.lora(; rank, alpha = 16)
    y => control.ia3()
    layers[*].y <- x; h <- x
    train **, **.bias
    freeze self_attn.{q_proj, v_proj}.lora_A.**
}
model tune = llama.causal_lm(; vocab = 258)
tune other = tune
tune tune with net() {
    tokens 16x1024
    compute bf16
    memory 24GiB
    store model.layers.**, a.{b, c} as nf4
    adamw(; lr = 1e-4)
}
tune model = tune with net(rank = 2), net(), control.net() {
    tokens 16384 packed; memory 1.5 GB
    compute f32
}
