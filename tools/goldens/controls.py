"""State controls in plain PyTorch, around the layers of transformers: what PEFT does not have. Each function changes a
model in place and returns its new parameters by the names that ctlc gives them."""
import torch
from torch import nn


class LowRank(nn.Module):
    """x A' B', ctlc's control.lowrank; A and B as [rank, in] and [out, rank]. In training the thin factor is masked."""

    def __init__(self, inputs, outputs, rank):
        super().__init__()
        self.lora_A = nn.Linear(inputs, rank, bias=False)
        self.lora_B = nn.Linear(rank, outputs, bias=False)

    def forward(self, x):
        return self.lora_B(self.lora_A(x))


class LlamaBlock(nn.Module):
    """A block of LLaMA with a control beside its feed-forward half, and one beside its attention half if `both`."""

    def __init__(self, block, width, rank, both):
        super().__init__()
        self.block = block
        self.beside_attention = LowRank(width, width, rank) if both else None
        self.beside_mlp = LowRank(width, width, rank)

    def forward(self, hidden_states, **others):
        b = self.block
        attention = b.self_attn(hidden_states=b.input_layernorm(hidden_states), **others)[0]
        h = hidden_states + attention
        if self.beside_attention is not None:
            h = h + self.beside_attention(hidden_states)
        return h + b.mlp(b.post_attention_layernorm(h)) + self.beside_mlp(h)


def _factors(at, control):
    return {f"{at}lora_A.weight": control.lora_A.weight, f"{at}lora_B.weight": control.lora_B.weight}


def control_llama(decoder, rank, both):
    """Control(UD), or DoubleControl where `both`, on a decoder (LlamaModel)."""
    named = {}
    for i, block in enumerate(decoder.layers):
        controlled = LlamaBlock(block, decoder.config.hidden_size, rank, both)
        decoder.layers[i] = controlled
        named |= _factors(f"model.layers.{i}.", controlled.beside_mlp)
        if both:
            named |= _factors(f"model.layers.{i}.attn.", controlled.beside_attention)
    return named
