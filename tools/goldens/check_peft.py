#!/usr/bin/env python3
"""Adapters go both ways between ctlc and PEFT, whole commands at work on tiny random models:

    ctlc import, train, export --peft  ->  PeftModel.from_pretrained: the loss of some data is that of ctlc eval
    get_peft_model, save_pretrained    ->  ctlc eval --adapter: the loss is PEFT's
    the same, of odd configurations    ->  ctlc import --adapter, eval: the loss is PEFT's; and ctlc export --peft gives
                                           the same tensors, which PEFT loads with the same loss

    build/venv/bin/python tools/goldens/check_peft.py            (pip install -r tools/goldens/requirements.txt)

Prints a line for each method and direction; exit code 1 when losses differ by more than 1e-5 of their size."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy
    import torch
    from safetensors.torch import load_file
    from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
    from transformers import (LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, RobertaConfig,
                              RobertaForSequenceClassification, ViTConfig, ViTForImageClassification)
except ImportError as missing:
    sys.exit(f"check_peft: {missing.name} is not installed; pip install -r tools/goldens/requirements.txt")

import models

ROOT = pathlib.Path(__file__).resolve().parents[2]
LENGTH = 32
TEXTS = dict(vocab_size=258)
BASES = {
    "llama": (LlamaForCausalLM, LlamaConfig(**dict(models.LLAMA, **TEXTS))),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**dict(models.LLAMA, **TEXTS))),
    "roberta": (RobertaForSequenceClassification, RobertaConfig(**dict(
        models.ENCODER, **TEXTS, max_position_embeddings=LENGTH + 2, layer_norm_eps=1e-5, pad_token_id=1, type_vocab_size=1))),
    "vit": (ViTForImageClassification, ViTConfig(
        image_size=8, patch_size=4, num_channels=3, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=4, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
}
BIASES = "control biases() on {} {{\n    train **.bias\n}}\n"
# A base, a method of ctlc import, what PEFT calls the same, and a control that is written beside it.
CASES = {
    "lora": ("llama", "lora", LoraConfig, {}, ""),
    "rslora": ("llama", "rslora", LoraConfig, dict(use_rslora=True), ""),
    "dora": ("llama", "dora", LoraConfig, dict(use_dora=True), ""),
    "ia3": ("llama", "ia3", IA3Config, dict(feedforward_modules=["down_proj"]), ""),
    "lora_only": ("qwen2", "rslora", LoraConfig, dict(use_rslora=True, bias="lora_only"),
                  "control biases() on llama.attention {\n    train q_proj.bias, v_proj.bias\n}\n"),
    "bias=all": ("roberta", "lora", LoraConfig, dict(bias="all", modules_to_save=["classifier"]),
                 BIASES.format("roberta.classifier")),
    "vit": ("vit", "lora", LoraConfig, dict(bias="all", modules_to_save=["classifier"]), BIASES.format("vit.classifier")),
}
ROUNDING = 1e-5
# What `ctlc import --adapter` makes a spec of: a base, and a configuration of PEFT's.
LISTED = ["q_proj", "v_proj", "down_proj"]
IMPORTS = {
    "expression": ("llama", LoraConfig, dict(r=4, lora_alpha=6, lora_dropout=0.1,
                                             target_modules=r"model\.layers\.\d+\.(?:self_attn|mlp)\.(q|up)_proj")),
    "all-linear": ("llama", LoraConfig, dict(r=3, lora_alpha=6, target_modules="all-linear", use_dora=True)),
    "patterns": ("llama", LoraConfig, dict(r=4, lora_alpha=8, target_modules=LISTED, use_rslora=True,
                                           rank_pattern={r"layers\.[0]\.\w+?\.q_proj": 2, "down_proj": 6},
                                           alpha_pattern={"v_proj": 5})),
    "layers": ("llama", LoraConfig, dict(r=4, lora_alpha=8, target_modules=[*LISTED, "query"], layers_to_transform=[1],
                                         bias="all", task_type="CAUSAL_LM")),
    "excluded": ("llama", LoraConfig, dict(r=4, lora_alpha=8, target_modules=LISTED, exclude_modules=r".*\.1\.mlp.*",
                                           modules_to_save=["lm_head", "input_layernorm"])),
    "head": ("llama", LoraConfig, dict(r=4, lora_alpha=8, target_modules=["lm_head", "o_proj"])),
    "vectors": ("llama", IA3Config, dict(target_modules=r".*\.(k_proj|down_proj)", feedforward_modules=r".*\.down_proj")),
    "biases": ("qwen2", LoraConfig, dict(r=4, lora_alpha=8, target_modules=LISTED, bias="all")),
    "classes": ("roberta", LoraConfig, dict(r=4, lora_alpha=8, target_modules=["query"], task_type="SEQ_CLS",
                                            layers_to_transform=0, bias="lora_only")),
    "images": ("vit", LoraConfig, dict(r=4, lora_alpha=8, target_modules=["fc1", "q_proj"], modules_to_save=["classifier"])),
}


def base_model(name, folder):
    make, config = BASES[name]
    model = make(config)
    models.fill(model.named_parameters(), torch.Generator().manual_seed(1))
    model.save_pretrained(folder)


def ctlc(*arguments):
    done = subprocess.run([str(ROOT / "build/ctlc"), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"check_peft: ctlc {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def data_of(base, folder):
    """What ctlc is given as data, and how PyTorch finds the same loss."""
    text = (ROOT / "LICENSE").read_bytes()[:3000]
    if base == "vit":
        images = numpy.random.default_rng(3).standard_normal((24, 3, 8, 8)).astype(numpy.float32)
        numpy.save(folder / "images.npy", images)
        (folder / "labels.txt").write_text("".join(f"{i % 3}\n" for i in range(24)))
        return (["--data", folder / "images.npy", "--labels", folder / "labels.txt"], "tokens=8x4",
                lambda model: loss_of(model(torch.from_numpy(images)).logits, torch.arange(24) % 3))
    if base == "roberta":
        texts = [text[k:k + LENGTH - 2] for k in range(0, 1500, 60)]
        lines = [json.dumps(dict(text=t.decode(), label=k % 3)) for k, t in enumerate(texts)]
        (folder / "data.jsonl").write_text("\n".join(lines) + "\n")
        ids = torch.tensor([[256, *t, 256] for t in texts])
        return (["--data", folder / "data.jsonl"], f"tokens=8x{LENGTH}",
                lambda model: loss_of(model(ids, attention_mask=torch.ones_like(ids)).logits, torch.arange(len(texts)) % 3))
    (folder / "text.txt").write_bytes(text)
    return ["--data", folder / "text.txt"], f"tokens=4x{LENGTH}", lambda model: text_loss(model, text)


def loss_of(logits, labels, reduction="mean"):
    return float(torch.nn.functional.cross_entropy(logits, labels, reduction=reduction))


def text_loss(model, text):
    """As docs/training.md cuts texts: 256 before and after, rows of LENGTH, labels the tokens that follow."""
    stream = [256, *text, 256]
    total = count = 0
    for begin in range(0, len(stream) - 1, LENGTH):
        ids = torch.tensor([stream[begin:begin + LENGTH][:len(stream) - 1 - begin]])
        labels = torch.tensor(stream[begin + 1:begin + 1 + LENGTH])
        total += loss_of(model(ids).logits[0], labels, "sum")
        count += len(labels)
    return total / count


def report(method, direction, ours, theirs):
    apart = abs(ours - theirs) / theirs
    print(f"{method:10} {direction:16} ctlc {ours:.7f}  PEFT {theirs:.7f}  {apart:.1e} apart")
    return apart <= ROUNDING


def write_spec(spec, base, method, tokens, beside):
    """As ctlc import writes it, in f32, with the control beside."""
    ctlc("import", base, "--method", method, "-o", spec)
    lines = []
    for line in spec.read_text().splitlines():
        if line.startswith("tune base with"):
            line = beside + (line.replace("with ", "with biases(), ") if beside else line)
        for setting in (tokens.replace("=", " ").replace("x", " x "), "compute f32"):
            if line.startswith("    " + setting.split()[0] + " "):
                line = "    " + setting
        lines.append(line)
    spec.write_text("\n".join(lines) + "\n")


@torch.no_grad()
def check(name, folder):
    kind, method, config_of, more, beside = CASES[name]
    base, (make, _) = folder / kind, BASES[kind]
    if not base.exists():
        base_model(kind, base)
    spec, run, exported, saved = (folder / f"{name}{end}" for end in (".ctl", "-run", "-exported", "-saved"))
    data, tokens, loss = data_of(kind, folder)
    write_spec(spec, base, method, tokens, beside)
    ctlc("train", spec, "--weights", base, *data, "--out", run, "--steps", 20, "--set", "lr=1e-2")
    ctlc("export", run, "--peft", exported, "--base", base)

    def ours(adapter):
        return json.loads(ctlc("eval", spec, "--weights", base, "--adapter", adapter, *data, "--json"))["loss"]
    theirs = PeftModel.from_pretrained(make.from_pretrained(base), exported).eval()
    right = report(name, "ctlc -> PEFT", ours(run), loss(theirs))
    config = theirs.peft_config["default"]
    if config_of is LoraConfig:
        more = dict(more, r=config.r, lora_alpha=config.lora_alpha)
    fresh = get_peft_model(make.from_pretrained(base), config_of(target_modules=sorted(config.target_modules), **more)).eval()
    models.fill([(n, p) for n, p in fresh.named_parameters() if p.requires_grad and "magnitude" not in n],
                torch.Generator().manual_seed(2))
    fresh.save_pretrained(saved)
    return report(name, "PEFT -> ctlc", ours(saved), loss(fresh)) and right


def fitted(spec, tokens):
    """The spec in f32, with sequences of the data's length."""
    lines = spec.read_text().splitlines()
    for k, line in enumerate(lines):
        for setting in (tokens.replace("=", " ").replace("x", " x "), "compute f32"):
            if line.startswith("    " + setting.split()[0] + " "):
                lines[k] = "    " + setting
    spec.write_text("\n".join(lines) + "\n")


@torch.no_grad()
def check_import(name, folder):
    kind, config_of, options = IMPORTS[name]
    base, (make, _) = folder / kind, BASES[kind]
    if not base.exists():
        base_model(kind, base)
    spec, saved, again = (folder / f"import-{name}{end}" for end in (".ctl", "-saved", "-again"))
    data, tokens, loss = data_of(kind, folder)
    fresh = get_peft_model(make.from_pretrained(base), config_of(**options)).eval()
    models.fill([(n, p) for n, p in fresh.named_parameters() if p.requires_grad and "magnitude" not in n],
                torch.Generator().manual_seed(2))
    fresh.save_pretrained(saved)
    ctlc("import", base, "--adapter", saved, "-o", spec)
    fitted(spec, tokens)
    ours = json.loads(ctlc("eval", spec, "--weights", base, "--adapter", saved, *data, "--json"))["loss"]
    right = report(name, "import --adapter", ours, loss(fresh))
    ctlc("export", saved, "--spec", spec, "--peft", again)
    before, after = (load_file(f / "adapter_model.safetensors") for f in (saved, again))
    doubled = [n for n in before if ".original_module." in n or ".modules_to_save." in n or n.endswith(".base_layer.weight")]
    same = before.keys() - doubled == after.keys() and all(torch.equal(t, before[n]) for n, t in after.items())
    if not same:
        print(f"{name:9} the tensors differ: {sorted(before.keys() ^ after.keys())}")
    theirs = PeftModel.from_pretrained(make.from_pretrained(base), again).eval()
    return report(name, "and exported", ours, loss(theirs)) and right and same


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not (ROOT / "build/ctlc").exists():
        sys.exit("check_peft: build/ctlc is missing: build ctlc first (tools/test, or cmake and ninja in build)")
    with tempfile.TemporaryDirectory(prefix="check_peft_") as name:
        folder = pathlib.Path(name)
        right = [check(name, folder) for name in CASES] + [check_import(name, folder) for name in IMPORTS]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
