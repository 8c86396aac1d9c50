#!/usr/bin/env python3
"""Adapters go both ways between ctlc and PEFT, whole commands at work on tiny random models:

    ctlc import, train, export --peft  ->  PeftModel.from_pretrained: the loss of some data is that of ctlc eval
    get_peft_model, save_pretrained    ->  ctlc eval --adapter: the loss is PEFT's

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
    print(f"{method:9} {direction:16} ctlc {ours:.7f}  PEFT {theirs:.7f}  {apart:.1e} apart")
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


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not (ROOT / "build/ctlc").exists():
        sys.exit("check_peft: build/ctlc is missing: build ctlc first (tools/test, or cmake and ninja in build)")
    with tempfile.TemporaryDirectory(prefix="check_peft_") as name:
        folder = pathlib.Path(name)
        right = [check(name, folder) for name in CASES]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
