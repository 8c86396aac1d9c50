#!/usr/bin/env python3
"""Makes tests/goldens: what transformers and PEFT say of tiny random models, for tests/test_goldens.c to compare with.

    python3 -m venv build/venv && build/venv/bin/pip install -r tools/goldens/requirements.txt
    build/venv/bin/python tools/goldens/make_goldens.py            # all of them; or the names of models

A model is a folder with the checkpoint that transformers saves; a case of it is a folder in that, with
    spec.ctl                     written by hand: the same model and method in ctlc's language
    adapter_model.safetensors    the values of what is trained, and adapter_config.json: of LoRA and DoRA as PEFT saves
                                 them, of what PEFT does not have under ctlc's names, without a configuration
    golden.safetensors           the batch ("input.ids", ..), "logits", "loss", "grad.NAME" of everything trained, and
                                 "eval.logits", "eval.loss" where training has dropout
Everything is computed in f32 on the CPU. Dropout uses ctlc's counted masks (philox.py) in PEFT's own layers."""
import argparse
import json
import pathlib
import sys

try:
    import torch
    import transformers  # noqa: F401 (models.py needs it)
    from peft import IA3Config, LoraConfig, VeraConfig, get_peft_model
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


# transformers 5 names the parts of a ViT otherwise than the checkpoints that it reads and writes.
PARTS = {".modules_to_save": "", ".default": "", ".base_layer": "", ".block": "", "vit.layers.": "vit.encoder.layer.",
         "attention.q_proj": "attention.attention.query", "attention.k_proj": "attention.attention.key",
         "attention.v_proj": "attention.attention.value", "attention.o_proj": "attention.output.dense",
         "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}


def our_name(name):
    name = name.removeprefix("base_model.model.")
    for part, ours in PARTS.items():
        name = name.replace(part, ours)
    return name.removesuffix(".weight") if "magnitude" in name else name


# ---- methods: each takes a model, changes it, and returns (model, trained parameters by ctlc's names) ----
def trained_of(model):
    return {our_name(n): p for n, p in model.named_parameters() if p.requires_grad}


def peft(config):
    def apply(model):
        model = get_peft_model(model, config)
        sites = 0
        for module in model.modules():
            if getattr(config, "lora_dropout", 0) and "default" in getattr(module, "lora_dropout", {}):
                module.lora_dropout["default"] = Masked(config.lora_dropout, sites)
                sites += 1
        return model, trained_of(model)
    return apply


def with_head(method, *heads):
    """The method, and parts of the model itself trained with it."""
    def apply(model):
        parts = [p for head in heads for p in model.get_submodule(head).parameters()]
        model, named = method(model)
        for p in parts:
            p.requires_grad_(True)
        ids = {id(p) for p in parts}
        return model, named | {our_name(n): p for n, p in model.named_parameters() if id(p) in ids}
    return apply


def lora(targets, **others):
    return peft(LoraConfig(target_modules=targets, r=others.pop("r", 4), lora_alpha=8, bias=others.pop("bias", "none"),
                           **others))


def vera(model):
    """VeRA's two matrices are frozen, and one pair for all layers; ctlc's spec has them in the decoder."""
    model, named = peft(VeraConfig(target_modules=["q_proj", "v_proj"], r=4, d_initial=0.5))(model)
    shared = {"model.vera_A": model.base_model.vera_A["default"], "model.vera_B": model.base_model.vera_B["default"]}
    return model, named | shared


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
    return model, trained_of(model)


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
    "control_dropout": ours(lambda m: controls.control_llama(m.model, 4, both=False, scale=2.0,
                                                             dropout_of=lambda site: Masked(0.2, site))),
    "cross": ours(lambda m: controls.cross_llama(m.model, 4, hop=1)),
    "houlsby": ours(lambda m: controls.houlsby_llama(m.model, 6)),
    "parallel_adapter": ours(lambda m: controls.parallel_llama(m.model, 6, scale=4.0)),
    "ia3": peft(IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "vera": vera,
    "mixture": both(lambda m: controls.control_llama(m.model, 4, both=False), lora(QKV)),
}
SOME = {name: LLAMA[name] for name in ("full", "lora", "dora", "control", "double")}
ROBERTA = {
    "full": full,
    "lora": lora(["query", "value"], modules_to_save=["classifier"]),
    "dora": lora(["query", "value"], use_dora=True, modules_to_save=["classifier"]),
    "control": with_head(ours(lambda m: controls.control_encoder(m.roberta, "roberta", 4)), "classifier"),
    "double": with_head(ours(lambda m: controls.control_encoder(m.roberta, "roberta", 4, both=True)), "classifier"),
}
BERT = {
    "full": full,
    "lora": lora(["query", "value"], modules_to_save=["classifier", "pooler"]),
    "dora": lora(["query", "value"], use_dora=True, modules_to_save=["classifier", "pooler"]),
    "control": with_head(ours(lambda m: controls.control_encoder(m.bert, "bert", 4)), "classifier", "bert.pooler"),
    "double": with_head(ours(lambda m: controls.control_encoder(m.bert, "bert", 4, both=True)), "classifier", "bert.pooler"),
}
VIT = {
    "full": full,
    "lora": with_head(lora(["q_proj", "v_proj"]), "classifier"),
    "dora": with_head(lora(["q_proj", "v_proj"], use_dora=True), "classifier"),
    "control": with_head(ours(lambda m: controls.control_vit(m.vit, 4)), "classifier"),
    "double": with_head(ours(lambda m: controls.control_vit(m.vit, 4, both=True)), "classifier"),
}
GPT2 = {
    "full": full,
    "lora": lora(["c_attn"], fan_in_fan_out=True),
    "dora": lora(["c_attn"], fan_in_fan_out=True, use_dora=True),
    "control": ours(lambda m: controls.control_gpt2(m.transformer, 4)),
    "double": ours(lambda m: controls.control_gpt2(m.transformer, 4, both=True)),
}
CASES = {"llama": LLAMA, "llama_tied": {"full": full, "lora": LLAMA["lora"]}, "llama31": {"full": full},
         "qwen2": SOME | {"lora_bias": lora(["q_proj", "v_proj"], bias="lora_only")}, "qwen3": {"full": full}, "mistral": {"full": full}, "roberta": ROBERTA, "bert": BERT, "gpt2": GPT2,
         "vit": VIT,
         "llama_classifier": {"full": full, "lora": lora(["q_proj", "v_proj"], modules_to_save=["score"])},
         "gpt2_classifier": {"full": full, "lora": lora(["c_attn"], fan_in_fan_out=True, modules_to_save=["score"])}}
DTYPES = {"llama_tied": torch.bfloat16, "gpt2": torch.float16}  # of the checkpoint; f32 where none is said


# ---- batches: what the model of transformers is given, and ctlc's inputs ----
def causal_batch(model, generator):
    """ids, and the labels that transformers shifts and ctlc takes shifted."""
    ids = torch.randint(3, model.config.vocab_size, (ROWS, LENGTH), generator=generator)
    labels = ids.clone()
    labels[0, :4] = -100
    labels[1, 7] = -100
    shifted = torch.full_like(labels, -100)
    shifted[:, :-1] = labels[:, 1:]
    return {"input_ids": ids, "labels": labels}, {"ids": ids, "labels": shifted, **places([LENGTH] * ROWS, LENGTH)}


def places(lengths, longest):
    """Position and length of each token: a document at the beginning of its sequence, and its padding as one of its own."""
    position = [[t if t < n else t - n for t in range(longest)] for n in lengths]
    length = [[n if t < n else longest - n for t in range(longest)] for n in lengths]
    return {"position": torch.tensor(position), "length": torch.tensor(length)}


def sentence_batch(model, generator):
    """One label a sequence; the second is shorter and padded."""
    config, lengths = model.config, [LENGTH, LENGTH - 3]
    ids = torch.randint(3, config.vocab_size, (ROWS, LENGTH), generator=generator)
    mask = torch.arange(LENGTH)[None] < torch.tensor(lengths)[:, None]
    ids = torch.where(mask, ids, config.pad_token_id)
    given = {"input_ids": ids, "attention_mask": mask.long(), "labels": torch.tensor([2, 0])}
    written = {"ids": ids, "label": given["labels"], **places(lengths, LENGTH)}
    if getattr(config, "type_vocab_size", 1) > 1:
        given["token_type_ids"] = written["types"] = torch.where(mask, torch.randint(0, 2, ids.shape, generator=generator), 0)
    return given, written


def image_batch(model, generator):
    """A row of ctlc's is a patch, its columns in the stored kernel's order: channel, row, column."""
    config = model.config
    (height, width), side = config.image_size, config.patch_size
    pixels = torch.randn(ROWS, config.num_channels, height, width, generator=generator)
    patches = pixels.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).reshape(ROWS, -1, 3 * side * side)
    count = patches.shape[1]
    label = torch.tensor([2, 0])
    return {"pixel_values": pixels, "labels": label}, {"pixels": patches, "label": label, **places([count] * ROWS, count)}


def batch_of(model):
    generator = torch.Generator().manual_seed(11)
    if "ForSequenceClassification" in type(model).__name__:
        return sentence_batch(model, generator)
    return (image_batch if model.config.model_type == "vit" else causal_batch)(model, generator)


# ---- one case ----
def case(name, method, dtype):
    model = models.make(name, dtype)
    given, written = batch_of(model)
    model, trained = method(model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for n, p in trained.items():  # B begins at zero and hides what stands before it
            if method is full or not p.requires_grad:
                continue
            noise = torch.randn(p.shape, generator=generator)
            near_one = "magnitude" in n or "ia3" in n or "lambda" in n
            p.copy_((p + (p == 0)) * (1 + 0.2 * noise) if near_one else noise / p.shape[-1] ** 0.5)
    tensors = {f"input.{n}": (x if x.is_floating_point() else x.int()).reshape(-1) for n, x in written.items()}
    masked = any(isinstance(m, Masked) for m in model.modules())
    model.train(masked)
    out = model(**given)
    out.loss.backward()
    tensors |= {"logits": out.logits.reshape(-1, out.logits.shape[-1]), "loss": out.loss.reshape(1)}
    for n, p in trained.items():
        if not p.requires_grad:
            continue
        if n.endswith("key.bias"):  # adds the same to all of a row's scores, which softmax does not see: only rounding is left
            assert p.grad.abs().max() < 1e-6
            p.grad.zero_()
        else:
            assert p.grad is not None and p.grad.abs().max() > 0, f"{name}: {n} has no gradient"
        tensors[f"grad.{n}"] = shaped(n, p.grad)
    if masked:
        model.eval()
        out = model(**given)
        tensors |= {"eval.logits": out.logits.reshape(-1, out.logits.shape[-1]), "eval.loss": out.loss.reshape(1)}
    return model, trained, {n: x.detach().float() if x.is_floating_point() else x for n, x in tensors.items()}


def write_tensors(path, tensors):
    save_file({n: x.detach().contiguous() for n, x in tensors.items()}, path)
    path.chmod(0o644)


def shaped(name, tensor):
    """PEFT has (IA)3's vectors as columns or rows, by where they stand."""
    return tensor.reshape(-1) if "ia3" in name else tensor


def trained_by_peft(model):
    """What PEFT saves: factors, magnitudes, and the modules that are saved with them; not a control of ours."""
    return [our_name(n) for n, p in model.named_parameters()
            if p.requires_grad and (("lora_" in n or "ia3_" in n) and ".default" in n or "modules_to_save" in n
                                    or n.endswith("base_layer.bias"))]


def save_peft(model, folder):
    """As PEFT itself saves it: tests read the adapter that people have."""
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    for key in {"target_modules", "feedforward_modules"} & config.keys():
        config[key].sort()  # a set's order, else, which is another each time
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "adapter_model.safetensors").chmod(0o644)


def write_case(folder, name, method, dtype):
    model, trained, tensors = case(name, method, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "golden.safetensors", tensors)
    if isinstance(getattr(model, "active_peft_config", None), (LoraConfig, IA3Config)) and set(trained) == set(trained_by_peft(model)):
        save_peft(model, folder)
    elif method is not full:
        write_tensors(folder / "adapter_model.safetensors", {n: shaped(n, p) for n, p in trained.items()})
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
