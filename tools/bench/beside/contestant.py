"""PyTorch as a contestant of side_by_side, and the preparation of what all contestants read. In one process:

    contestant.py prepare '{"folder": .., "model": .., "depth": D, "sequences": S, "length": L, ..}'
writes a random checkpoint (base/), the first values of every method's adapter under ctlc's names (METHOD/), and
batches (batches.safetensors);

    contestant.py run '{"folder": .., "model": .., "method": .., "dtype": .., "compile": false, ..}'
loads them and trains a step at a time, when told by lines on standard input, with the answers of bench_beside.c.

bf16 is what suits PyTorch: frozen weights stored in bf16, trained ones in f32, products under autocast."""
import contextlib
import json
import os
import pathlib
import resource
import sys
import time

BEGIN = time.monotonic()
import torch  # noqa: E402
import transformers  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "goldens"))
import controls  # noqa: E402
import shapes  # noqa: E402


def config_of(model, depth):
    family, settings = shapes.MODELS[model]
    settings = dict(settings, num_hidden_layers=depth)
    config = {"llama": transformers.LlamaConfig, "roberta": transformers.RobertaConfig}[family](**settings)
    config.use_cache = False
    return family, config


def class_of(family):
    return {"llama": transformers.LlamaForCausalLM, "roberta": transformers.RobertaForSequenceClassification}[family]


def apply(family, model, method):
    """The model with the method, and what is trained by ctlc's names."""
    if method == "control":
        model.requires_grad_(False)
        rank = shapes.CONTROL_RANK[family]
        if family == "llama":
            named = controls.control_llama(model.model, rank, both=False)
        else:
            named = controls.control_encoder(model.roberta, "roberta", rank)
        for name, p in named.items():
            if name.endswith("lora_B.weight"):
                torch.nn.init.zeros_(p)
    else:
        targets, rank, alpha = shapes.TARGETS[family]
        config = LoraConfig(target_modules=targets, r=rank, lora_alpha=alpha, lora_dropout=0.0, use_dora=method == "dora")
        model = get_peft_model(model, config)
        named = {n.removeprefix("base_model.model.").replace(".default", ""): p
                 for n, p in model.named_parameters() if p.requires_grad}
        named = {n.removesuffix(".weight") if "magnitude" in n else n: p for n, p in named.items()}
    if family == "roberta":
        base = model.base_model.model if method != "control" else model
        for n, p in base.classifier.named_parameters():
            p.requires_grad_(True)
            named[f"classifier.{n}"] = p
    return model, named


def prepare(o):
    folder = pathlib.Path(o["folder"])
    torch.manual_seed(1)
    family, config = config_of(o["model"], o["depth"])
    base = folder / "base"
    if not (base / "model.safetensors").exists():
        class_of(family)(config).save_pretrained(base)
    for method in shapes.METHODS:
        _, named = apply(family, class_of(family).from_pretrained(base), method)
        (folder / method).mkdir(exist_ok=True)
        save_file({n: p.detach().float().contiguous() for n, p in named.items()},
                  folder / method / "adapter_model.safetensors")
    rows = o["sequences"] * o["length"]
    ids = torch.randint(3, config.vocab_size, (o["batches"], rows), dtype=torch.int32)
    ids = ids % 997 + 3  # something that can be learnt: few of the words
    if family == "llama":
        labels = ids.view(-1, o["sequences"], o["length"]).roll(-1, 2).clone()
        labels[:, :, -1] = -100
        tensors = {"ids": ids, "labels": labels.view(-1, rows)}
    else:
        label = (ids.view(-1, o["sequences"], o["length"])[:, :, 0] % 2).int()
        tensors = {"ids": ids, "label": label}
    save_file({n: x.contiguous() for n, x in tensors.items()}, folder / o["batch_file"])


class Kept:
    """Bytes that autograd keeps for backward, parameters not counted: of whole storages, each once."""

    def __init__(self, model):
        self.known = {p.untyped_storage().data_ptr() for p in list(model.parameters()) + list(model.buffers())}
        self.bytes = 0

    def pack(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.known.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor

    def hooks(self):
        return torch.autograd.graph.saved_tensors_hooks(self.pack, lambda tensor: tensor)


def answer(**values):
    print(json.dumps(values), flush=True)


def run(o):
    imported = time.monotonic()
    folder = pathlib.Path(o["folder"])
    torch.set_num_threads(o["threads"])
    family, config = config_of(o["model"], o["depth"])
    bf16 = o["dtype"] == "bf16"
    model = class_of(family).from_pretrained(folder / "base", dtype=torch.bfloat16 if bf16 else torch.float32)
    model.config.use_cache = False
    model, named = apply(family, model, o["method"])
    given = load_file(folder / o["method"] / "adapter_model.safetensors")
    for name, p in named.items():
        p.data = given[name].clone()  # trained: f32, whatever the base is
    batches = load_file(folder / o["batch_file"])
    model.train()
    optimizer = torch.optim.AdamW(named.values(), lr=shapes.RATE, weight_decay=0.0, fused=True)
    called = torch.compile(model, dynamic=False) if o["compile"] else model
    loaded = time.monotonic()
    shape = (o["sequences"], o["length"])

    def batch(step):
        n = step % len(batches["ids"])
        ids = batches["ids"][n].view(shape).long()
        labels = ids if family == "llama" else batches["label"][n].long()
        return {"input_ids": ids, "labels": labels}

    def forward(step, hooks=contextlib.nullcontext()):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), hooks:
            return called(**batch(step)).loss

    def one_step(step):
        begin, cpu = time.monotonic(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        loss = forward(step)
        loss.backward()
        optimizer.step()
        value = loss.item()
        return dict(loss=value, seconds=time.monotonic() - begin, cpu=time.process_time() - cpu)

    answer(**one_step(0), load=loaded - imported, compile=imported - BEGIN)
    step = 1
    for line in sys.stdin:
        if line != "step\n":
            break
        answer(**one_step(step))
        step += 1
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # before the hooks take theirs
    kept = Kept(model)
    forward(step, kept.hooks()).backward()
    answer(resident=resident, kept=kept.bytes, arena=None, planned=None)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    {"prepare": prepare, "run": run}[sys.argv[1]](json.loads(sys.argv[2]))
