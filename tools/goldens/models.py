"""The tiny random models: configurations of transformers, and values far enough from zero that every part of a network
shows in its logits and gradients (the libraries' own first values are too small for that)."""
import torch
from transformers import LlamaConfig, LlamaForCausalLM

LLAMA = dict(vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1,
             eos_token_id=2)


def fill(parameters, generator):
    """Random values by shape: matrices with deviation 1 / sqrt(columns), vectors near 1 or near 0."""
    with torch.no_grad():
        for name, p in parameters:
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim > 1:
                p.copy_(noise / p[0].numel() ** 0.5)
            elif name.endswith("bias"):
                p.copy_(0.2 * noise)
            else:
                p.copy_(1 + 0.2 * noise)


def llama():
    return LlamaForCausalLM(LlamaConfig(**LLAMA, rope_theta=10000.0))


def llama_tied():
    """A tied head, and attention heads wider than hidden / heads."""
    return LlamaForCausalLM(LlamaConfig(**LLAMA, tie_word_embeddings=True, head_dim=12))


def llama31():
    """LLaMA 3.1's rope: low frequencies divided, those between blended."""
    rope = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=16, rope_theta=500.0)
    return LlamaForCausalLM(LlamaConfig(**LLAMA, rope_parameters=rope))


MODELS = {"llama": llama, "llama_tied": llama_tied, "llama31": llama31}


def make(name, dtype):
    """The model in evaluation mode, its weights rounded to dtype, as its checkpoint has them, computed in f32."""
    model = MODELS[name]()
    generator = torch.Generator().manual_seed(sum(name.encode()))
    fill(model.named_parameters(), generator)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype))
    return model.eval()
