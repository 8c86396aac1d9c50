"""What is measured: models by their shapes, methods, token counts, memory; and a model's ceiling. Nothing heavy is imported."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]

# For PyTorch the settings of transformers' LlamaConfig; for ctlc a spec for each method: examples/MODEL_METHOD.ctl.
MODELS = {
    "llama2_7b": dict(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
                      num_key_value_heads=32, rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=4096),
    "llama3_8b": dict(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                      num_key_value_heads=8, rms_norm_eps=1e-5, rope_theta=500000.0, max_position_embeddings=8192),
    "tiny": dict(vocab_size=97, hidden_size=32, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                 num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=64),
}
# The library's values (stdlib/tuning.ctl): rank and scale of lora_qkvud, rank of double.
LORA = dict(r=32, lora_alpha=64, lora_dropout=0.05, target_modules=["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"])
CONTROL_RANK = 64
TINY_RANK = 4
# bare: one trained vector at the lowest block's input, so that a step is the frozen model's own: forward, and all of d x.
METHODS = ["lora", "mixture", "double"]
BUDGETS = ["time", "24 GiB", "memory"]


def spec(model, method):
    folder = ROOT / ("tests/gpu" if model == "tiny" else "tools/gpu/specs" if method == "bare" else "examples")
    return folder / f"{model}_{method}.ctl"


def memory_options(budget, device):
    """Options of ctlc for a budget: the least time, a card of 24 GiB, the least memory."""
    here = machine(device)
    if budget == "24 GiB":
        return ["--memory", "24GiB", "--machine", "rtx3090"]
    return ["--memory", "max" if budget == "time" else "min"] + (["--machine", here] if here else [])


def machine(device):
    """The name that ctlc's planner has for a device, or None."""
    names = {"h100": ["h100", "h200"], "a100": ["a100"], "rtx4090": ["4090"], "rtx3090": ["3090"]}
    for name, words in names.items():
        if any(w in device.lower() for w in words):
            return name
    return None


def products(model):
    """(inputs, outputs, times a step) of a model's frozen products: what every token goes through, forward and backward."""
    m = MODELS[model]
    width, ffn, layers = m["hidden_size"], m["intermediate_size"], m["num_hidden_layers"]
    kv = width // m["num_attention_heads"] * m["num_key_value_heads"]
    return [(width, width, 2 * layers), (width, kv, 2 * layers), (width, ffn, 2 * layers), (ffn, width, layers),
            (width, m["vocab_size"], 1)]


def product_parameters(model):
    """Parameters of products: the head counts, the table of embeddings does not, nor do norms."""
    return sum(a * b * n for a, b, n in products(model))


def share_of_ceiling(model, tokens_per_second, rate):
    """rate: operations a second of the best product. A frozen model costs 4 operations a parameter and token."""
    return tokens_per_second * 4 * product_parameters(model) / rate


def tokens_of(text):
    sequences, length = (int(n) for n in text.split("x"))
    return sequences, length


def variants(tokens):
    """Ways to train the same step in PyTorch: name, settings. micro: sequences at a time."""
    sequences, length = tokens_of(tokens)
    half = max(1, sequences // 2)
    micro = max(1, min(half, 4096 // length))
    ways = {"whole": {}, "parts": {"micro": micro}, "checkpoint": {"checkpoint": True}}
    out = {}
    for run in ("eager", "compile"):
        for name, settings in ways.items():
            out[f"{run}, {name}"] = dict({"compile": run == "compile", "checkpoint": False, "micro": sequences}, **settings)
    return out


def first_variant(tokens):
    """The one way that a first contact takes: what fits a card of 80 GB without recomputing."""
    sequences, length = tokens_of(tokens)
    return "eager, whole" if sequences * length <= 4096 else "eager, parts"
