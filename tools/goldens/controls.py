"""State controls in plain PyTorch, around the layers of transformers: what PEFT does not have. Each function changes a
model in place and returns its new parameters by the names that ctlc gives them."""
import torch
from torch import nn


class LowRank(nn.Module):
    """scale drop(x A') B', ctlc's control.lowrank; A and B as [rank, in] and [out, rank]."""

    def __init__(self, inputs, outputs, rank, scale=1.0, dropout=None):
        super().__init__()
        self.lora_A = nn.Linear(inputs, rank, bias=False)
        self.lora_B = nn.Linear(rank, outputs, bias=False)
        self.scale, self.dropout = scale, dropout or nn.Identity()

    def forward(self, x):
        return self.scale * self.lora_B(self.dropout(self.lora_A(x)))


class Controlled(nn.Module):
    """A layer of transformers with a control beside its feed-forward half, and one beside its attention half, or None. What
    a kind of layer computes is in its subclass."""

    def __init__(self, block, beside_attention, beside_mlp):
        super().__init__()
        self.block, self.beside_attention, self.beside_mlp = block, beside_attention, beside_mlp

    def attended(self, h, x):
        return h if self.beside_attention is None else h + self.beside_attention(x)


class LlamaBlock(Controlled):
    def forward(self, hidden_states, **others):
        b = self.block
        attention = b.self_attn(hidden_states=b.input_layernorm(hidden_states), **others)[0]
        h = self.attended(hidden_states + attention, hidden_states)
        return h + b.mlp(b.post_attention_layernorm(h)) + self.beside_mlp(h)


class EncoderLayer(Controlled):
    """Of BERT and RoBERTa: controls are added behind the norms."""

    def forward(self, hidden_states, *others, **named):
        b = self.block
        h = self.attended(b.attention(hidden_states, *others[:1], **named)[0], hidden_states)
        return b.feed_forward_chunk(h) + self.beside_mlp(h)


class VitLayer(Controlled):
    def forward(self, hidden_states, *others, **named):
        b = self.block
        attention = b.attention(b.layernorm_before(hidden_states), *others, **named)[0]
        h = self.attended(attention + hidden_states, hidden_states)
        return h + b.mlp(b.layernorm_after(h)) + self.beside_mlp(h)


class Gpt2Block(Controlled):
    def forward(self, hidden_states, cache=None, attention_mask=None, *others, **named):
        b = self.block
        named.pop("encoder_attention_mask", None)
        attention = b.attn(b.ln_1(hidden_states), cache=cache, attention_mask=attention_mask, **named)[0]
        h = self.attended(attention + hidden_states, hidden_states)
        return h + b.mlp(b.ln_2(h)) + self.beside_mlp(h)


class BottleneckLinear(nn.Module):
    def __init__(self, width, rank):
        super().__init__()
        self.down_proj, self.up_proj = nn.Linear(width, rank), nn.Linear(rank, width)

    def forward(self, x):
        return self.up_proj(self.down_proj(x))


class Bottleneck(nn.Module):
    """Down, a nonlinear function, up; biased: an adapter's two layers."""

    def __init__(self, width, rank, function, scale=1.0):
        super().__init__()
        self.down, self.up = nn.Linear(width, rank), nn.Linear(rank, width)
        self.function, self.scale = function, scale

    def forward(self, x):
        return self.scale * self.up(self.function(self.down(x)))


def _named(at, module):
    return {f"{at}{name}": p for name, p in module.named_parameters()}


def control(layers, kind, at, make, mlp_label="", attention_label=None):
    """Puts a control of make(site) beside every layer's feed-forward half, and beside its attention half where that has a label.
    kind: the subclass of Controlled; at: the path of the layers in ctlc."""
    named = {}
    for i, block in enumerate(layers):
        beside_attention = make(i) if attention_label else None
        layers[i] = kind(block, beside_attention, make(i))
        named |= _named(f"{at}.{i}.{mlp_label}", layers[i].beside_mlp)
        if attention_label:
            named |= _named(f"{at}.{i}.{attention_label}", beside_attention)
    return named


def control_llama(decoder, rank, both, dropout_of=lambda site: None, scale=1.0):
    """Control(UD), or DoubleControl where `both`, on a decoder (LlamaModel). dropout_of: the module that drops at a site."""
    width = decoder.config.hidden_size
    return control(decoder.layers, LlamaBlock, "model.layers", lambda site: LowRank(width, width, rank, scale, dropout_of(site)),
                   attention_label="attn." if both else None)


def control_encoder(model, prefix, rank, both=False):
    """The same on BertModel or RobertaModel, whose path in ctlc is prefix."""
    width = model.config.hidden_size
    return control(model.encoder.layer, EncoderLayer, f"{prefix}.encoder.layer", lambda site: LowRank(width, width, rank),
                   attention_label="attn." if both else None)


def control_vit(model, rank, both=False):
    """With biases, as two linear layers."""
    width = model.config.hidden_size
    return control(model.layers, VitLayer, "vit.encoder.layer", lambda site: BottleneckLinear(width, rank), "controller.",
                   "attn_controller." if both else None)


def control_gpt2(model, rank, both=False):
    width = model.config.hidden_size
    return control(model.h, Gpt2Block, "transformer.h", lambda site: LowRank(width, width, rank),
                   attention_label="attn_control." if both else None)


def houlsby_llama(decoder, rank):
    """Adapters in series behind both halves of a block, with erf's gelu."""
    named = {}
    for i, block in enumerate(decoder.layers):
        for part, label in (("self_attn", "attn_adapter"), ("mlp", "mlp_adapter")):
            adapter = Bottleneck(decoder.config.hidden_size, rank, nn.functional.gelu)

            def behind(module, args, result, adapter=adapter):
                y = result[0] if isinstance(result, tuple) else result
                y = y + adapter(y)
                return (y, *result[1:]) if isinstance(result, tuple) else y

            getattr(block, part).register_forward_hook(behind)
            named |= _named(f"model.layers.{i}.{part}.{label}.", adapter)
    return named


def parallel_llama(decoder, rank, scale):
    """Adapters beside the feed-forward half: they read what it reads, behind the norm."""
    named = {}
    for i, block in enumerate(decoder.layers):
        adapter = Bottleneck(decoder.config.hidden_size, rank, torch.relu, scale)
        block.mlp.register_forward_hook(lambda module, args, y, adapter=adapter: y + adapter(args[0]))
        named |= _named(f"model.layers.{i}.adapter.", adapter)
    return named


def cross_llama(decoder, rank, hop):
    """From the input of a block to the output of the block `hop` further on."""
    named, inputs = {}, {}
    for i, block in enumerate(decoder.layers):
        block.register_forward_pre_hook(lambda module, args, i=i: inputs.__setitem__(i, args[0]))
        if i >= hop:
            control = LowRank(decoder.config.hidden_size, decoder.config.hidden_size, rank)
            block.register_forward_hook(
                lambda module, args, y, i=i, control=control: y + control(inputs[i - hop]))
            named |= _named(f"model.layers.{i}.cross.", control)
    return named
