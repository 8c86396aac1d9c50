#!/usr/bin/env python3
"""Makes tests/goldens: what transformers and PEFT say of tiny random models, for tests/test_goldens.c to compare with.

    python3 -m venv build/venv && build/venv/bin/pip install -r tools/goldens/requirements.txt
    build/venv/bin/python tools/goldens/make_goldens.py            # all of them; or the names of models

A model is a folder with the checkpoint that transformers saves; a case of it is a folder in that, with
    spec.ctl                     written by hand: the same model and method in ctlc's language
    adapter_model.safetensors    the values of what is trained (and adapter_config.json, where PEFT saved it)
    golden.safetensors           the batch ("input.ids", ..), "logits", "loss", "grad.NAME" of everything trained, and
                                 "eval.logits", "eval.loss" where training has dropout
Everything is computed in f32 on the CPU. Dropout uses ctlc's counted masks (philox.py) in PEFT's own layers."""
import argparse
import pathlib
import sys

try:
    import torch
    import transformers  # noqa: F401 (models.py needs it)
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file
except ImportError as missing:
    sys.exit(f"make_goldens: {missing.name} is not installed; pip install -r tools/goldens/requirements.txt")

import controls
import models
import philox

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"
SEED, STEP = 7, 3  # test_goldens.c has the same
ROWS, LENGTH = 2, 12


class Masked(torch.nn.Module):
    """Dropout by ctlc's masks: of one site, over a batch whose tokens are the rows."""

    def __init__(self, p, site):
        super().__init__()
        self.p, self.site = p, site

    def forward(self, x):
        if not self.training:
            return x
        rows, columns = x.numel() // x.shape[-1], x.shape[-1]
        kept = philox.kept(self.p, rows, columns, self.site, STEP, SEED)
        return x * torch.from_numpy(kept).view(x.shape) / (1 - self.p)


# ---- methods: each takes a model, changes it, and returns (model, trained parameters by ctlc's names) ----
def peft(config):
    def apply(model):
        model = get_peft_model(model, config)
        sites = 0
        for module in model.modules():
            if getattr(config, "lora_dropout", 0) and "default" in getattr(module, "lora_dropout", {}):
                module.lora_dropout["default"] = Masked(config.lora_dropout, sites)
                sites += 1
        named = {n.removeprefix("base_model.model.").replace(".default", "").replace(".base_layer", "").replace(".block", ""): p
                 for n, p in model.named_parameters() if p.requires_grad}
        return model, {n.removesuffix(".weight") if "magnitude" in n else n: p for n, p in named.items()}
    return apply


def lora(targets, **others):
    return peft(LoraConfig(target_modules=targets, r=others.pop("r", 4), lora_alpha=8, bias="none", **others))


def ours(control):
    def apply(model):
        model.requires_grad_(False)
        return model, control(model)
    return apply


def both(control, second):
    """A control of ours and, on the same model, a method of PEFT, which freezes everything else."""
    def apply(model):
        named = control(model)
        model, more = second(model)
        for p in named.values():
            p.requires_grad_(True)
        return model, named | more
    return apply


def full(model):
    return model, dict(model.named_parameters())


QKV = ["q_proj", "k_proj", "v_proj"]
QKVUD = QKV + ["up_proj", "down_proj"]
LLAMA = {
    "full": full,
    "lora": lora(QKVUD),
    "lora_dropout": lora(QKVUD, lora_dropout=0.2),
    "rslora": lora(["q_proj", "v_proj"], use_rslora=True),
    "dora": lora(QKVUD, use_dora=True),
    "dora_dropout": lora(QKVUD, use_dora=True, lora_dropout=0.2),
    "control": ours(lambda m: controls.control_llama(m.model, 4, both=False)),
    "double": ours(lambda m: controls.control_llama(m.model, 4, both=True)),
    "mixture": both(lambda m: controls.control_llama(m.model, 4, both=False), lora(QKV)),
}
CASES = {"llama": LLAMA, "llama_tied": {"full": full, "lora": LLAMA["lora"]}}
DTYPES = {"llama_tied": torch.bfloat16}  # of the checkpoint; f32 where none is said


# ---- batches: of a causal model, ids and the labels that transformers shifts ----
def causal_batch(model):
    generator = torch.Generator().manual_seed(11)
    ids = torch.randint(3, model.config.vocab_size, (ROWS, LENGTH), generator=generator)
    labels = ids.clone()
    labels[0, :4] = -100
    labels[1, 7] = -100
    shifted = torch.full_like(labels, -100)
    shifted[:, :-1] = labels[:, 1:]
    return {"input_ids": ids, "labels": labels}, {"ids": ids, "labels": shifted}


# ---- one case ----
def case(name, method, dtype):
    model = models.make(name, dtype)
    given, written = causal_batch(model)
    model, trained = method(model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for n, p in trained.items():  # B begins at zero and hides what stands before it
            if method is full:
                continue
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(p * (1 + 0.2 * noise) if "magnitude" in n else noise / p.shape[-1] ** 0.5)
    tensors = {f"input.{n}": x.reshape(-1).to(torch.int32) for n, x in written.items()}
    masked = any(isinstance(m, Masked) for m in model.modules())
    model.train(masked)
    for p in trained.values():
        p.grad = None
    out = model(**given)
    out.loss.backward()
    tensors |= {"logits": out.logits.reshape(-1, out.logits.shape[-1]), "loss": out.loss.reshape(1)}
    for n, p in trained.items():
        assert p.grad is not None and p.grad.abs().max() > 0, f"{name}: {n} has no gradient"
        tensors[f"grad.{n}"] = p.grad
    if masked:
        model.eval()
        out = model(**given)
        tensors |= {"eval.logits": out.logits.reshape(-1, out.logits.shape[-1]), "eval.loss": out.loss.reshape(1)}
    return model, trained, {n: x.detach().float() if x.is_floating_point() else x for n, x in tensors.items()}


def write_tensors(path, tensors):
    save_file({n: x.detach().contiguous() for n, x in tensors.items()}, path)
    path.chmod(0o644)


def write_case(folder, name, method, dtype):
    model, trained, tensors = case(name, method, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "golden.safetensors", tensors)
    if method is not full:
        write_tensors(folder / "adapter_model.safetensors", trained)
    print(f"{folder.relative_to(ROOT.parents[1])}: loss {float(tensors['loss']):.6f}, {len(trained)} gradients")


def write_model(name):
    dtype = DTYPES.get(name, torch.float32)
    models.make(name, dtype).to(dtype).save_pretrained(ROOT / name)
    (ROOT / name / "generation_config.json").unlink(missing_ok=True)
    (ROOT / name / "model.safetensors").chmod(0o644)
    for case_name, method in CASES[name].items():
        write_case(ROOT / name / case_name, name, method, dtype)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(CASES)}; all unless told")
    chosen = parser.parse_args().models or list(CASES)
    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        parser.error(f"no model '{unknown[0]}'; there are {', '.join(CASES)}")
    philox.check()
    torch.set_num_threads(1)  # sums in one order
    for name in chosen:
        write_model(name)


if __name__ == "__main__":
    main()
