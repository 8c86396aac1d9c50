"""The tiny random models: configurations of transformers, and values far enough from zero that every part of a network
shows in its logits and gradients (the libraries' own first values are too small for that)."""
import torch
from transformers import (BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification,
                          GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, MistralConfig,
                          MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM, RobertaConfig, RobertaForSequenceClassification, ViTConfig,
                          ViTForImageClassification)

LLAMA = dict(vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1,
             eos_token_id=2)

GPT2 = dict(vocab_size=48, n_embd=32, n_layer=2, n_head=4, n_positions=20, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            bos_token_id=1, eos_token_id=2)

ENCODER = dict(vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
               max_position_embeddings=20, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=3)


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


def qwen2():
    """Biases of q, k and v."""
    return Qwen2ForCausalLM(Qwen2Config(**dict(LLAMA, rms_norm_eps=1e-6)))


def qwen3():
    """A norm of each head's q and k; wide heads, a tied head."""
    return Qwen3ForCausalLM(Qwen3Config(**dict(LLAMA, rms_norm_eps=1e-6), head_dim=12, tie_word_embeddings=True))


def mistral():
    """A window of 5 tokens."""
    return MistralForCausalLM(MistralConfig(**LLAMA, sliding_window=5))


def roberta():
    return RobertaForSequenceClassification(RobertaConfig(**ENCODER, type_vocab_size=1, pad_token_id=1))


def bert():
    return BertForSequenceClassification(BertConfig(**ENCODER, type_vocab_size=2, pad_token_id=0))


def gpt2():
    return GPT2LMHeadModel(GPT2Config(**GPT2))


def llama_classifier():
    """A class a sequence, from its last token that is no padding."""
    return LlamaForSequenceClassification(LlamaConfig(**dict(LLAMA, num_hidden_layers=1), num_labels=3))


def gpt2_classifier():
    """The same."""
    return GPT2ForSequenceClassification(GPT2Config(**dict(GPT2, n_layer=1), pad_token_id=0, num_labels=3))


def vit():
    """Images of 2 x 3 patches."""
    return ViTForImageClassification(ViTConfig(
        image_size=(8, 12), patch_size=4, num_channels=3, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))


MODELS = {f.__name__: f for f in (llama, llama_tied, llama31, qwen2, qwen3, mistral, roberta, bert, gpt2, vit, llama_classifier,
                                  gpt2_classifier)}


def make(name, dtype):
    """The model in evaluation mode, its weights rounded to dtype, as its checkpoint has them, computed in f32."""
    model = MODELS[name]()
    generator = torch.Generator().manual_seed(sum(name.encode()))
    fill(model.named_parameters(), generator)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype))
    return model.eval()
