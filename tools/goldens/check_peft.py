#!/usr/bin/env python3
"""Adapters go both ways between ctlc and PEFT, whole commands at work on a tiny random LLaMA:

    ctlc import, train, export --peft  ->  PeftModel.from_pretrained: the loss of a text is that of ctlc eval
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
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
except ImportError as missing:
    sys.exit(f"check_peft: {missing.name} is not installed; pip install -r tools/goldens/requirements.txt")

import models

ROOT = pathlib.Path(__file__).resolve().parents[2]
LENGTH = 32
METHODS = {  # of ctlc import: what PEFT calls the same
    "lora": dict(),
    "rslora": dict(use_rslora=True),
    "dora": dict(use_dora=True),
}
ROUNDING = 1e-5


def base_model(folder):
    model = LlamaForCausalLM(LlamaConfig(**dict(models.LLAMA, vocab_size=258)))
    models.fill(model.named_parameters(), torch.Generator().manual_seed(1))
    model.save_pretrained(folder)


def ctlc(*arguments):
    done = subprocess.run([str(ROOT / "build/ctlc"), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"check_peft: ctlc {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def loss_of(model, text):
    """As docs/training.md cuts texts: 256 before and after, rows of LENGTH, labels the tokens that follow."""
    stream = [256, *text.read_bytes(), 256]
    total = count = 0
    for begin in range(0, len(stream) - 1, LENGTH):
        ids = torch.tensor([stream[begin:begin + LENGTH][:len(stream) - 1 - begin]])
        labels = torch.tensor(stream[begin + 1:begin + 1 + LENGTH])
        with torch.no_grad():
            total += float(torch.nn.functional.cross_entropy(model.eval()(ids).logits[0], labels, reduction="sum"))
        count += len(labels)
    return total / count


def said_by_ctlc(spec, base, adapter, text):
    return json.loads(ctlc("eval", spec, "--weights", base, "--adapter", adapter, "--data", text, "--json"))["loss"]


def report(method, direction, ours, theirs):
    apart = abs(ours - theirs) / theirs
    print(f"{method:8} {direction:16} ctlc {ours:.7f}  PEFT {theirs:.7f}  {apart:.1e} apart")
    return apart <= ROUNDING


def check(method, base, folder, text):
    spec, run, exported, saved = (folder / f"{method}{end}" for end in (".ctl", "-run", "-exported", "-saved"))
    ctlc("import", base, "--method", method, "-o", spec)
    ctlc("train", spec, "--weights", base, "--data", text, "--out", run, "--steps", 20, "--set", f"tokens=4x{LENGTH}",
         "--set", "lr=1e-2", "--set", "compute=f32")
    ctlc("export", run, "--peft", exported, "--base", base)
    spec.write_text("\n".join(f"    tokens 4 x {LENGTH}" if line.strip().startswith("tokens ") else
                              "    compute f32" if line.strip().startswith("compute ") else line
                              for line in spec.read_text().splitlines()) + "\n")
    theirs = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), exported)
    right = report(method, "ctlc -> PEFT", said_by_ctlc(spec, base, run, text), loss_of(theirs, text))
    config = theirs.peft_config["default"]
    fresh = get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(
        target_modules=sorted(config.target_modules), r=config.r, lora_alpha=config.lora_alpha, **METHODS[method]))
    models.fill([(n, p) for n, p in fresh.named_parameters() if p.requires_grad and "magnitude" not in n],
                torch.Generator().manual_seed(2))
    fresh.save_pretrained(saved)
    return report(method, "PEFT -> ctlc", said_by_ctlc(spec, base, saved, text), loss_of(fresh, text)) and right


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not (ROOT / "build/ctlc").exists():
        sys.exit("check_peft: build/ctlc is missing: build ctlc first (tools/test, or cmake and ninja in build)")
    with tempfile.TemporaryDirectory(prefix="check_peft_") as name:
        folder = pathlib.Path(name)
        text = folder / "text.txt"
        text.write_bytes((ROOT / "LICENSE").read_bytes()[:3000])
        base_model(folder / "base")
        right = [check(method, folder / "base", folder, text) for method in METHODS]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
