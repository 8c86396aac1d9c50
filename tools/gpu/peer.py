"""PyTorch as the peer of tools/gpu/check: trains a LLaMA of random weights, made on the device, on one random batch, with
PEFT's LoRA or with a double control in plain PyTorch, in several ways after one another.

    peer.py '{"model": "llama2_7b", "method": "lora", "device": "cuda", "dtype": "bf16", "steps": 10, "warm": 3,
              "runs": [["16x256", "eager, whole"], ..]}'

prints a line of JSON with the counts of parameters, then one for each run as soon as it has it. A way whose memory the device
does not have says {"fits": false}, one that fails also why. Weights are stored in bf16, what is trained in f32, products under autocast: as ctlc has it."""
import gc
import json
import os
import pathlib
import statistics
import sys
import time

import torch
import transformers
from torch.utils.checkpoint import checkpoint

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "goldens"))
import cases  # noqa: E402
import controls  # noqa: E402


class MaybeCheckpointed(torch.nn.Module):
    """A decoder's layer that keeps its input alone for backward, when told to."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.on = layer, False

    def forward(self, hidden_states, **others):
        if self.on:
            return checkpoint(self.layer, hidden_states, use_reentrant=False, **others)
        return self.layer(hidden_states, **others)


def make(o):
    """The model with its method, and what is trained."""
    torch.manual_seed(o.get("seed", 1))
    dtype = torch.bfloat16 if o["dtype"] == "bf16" else torch.float32
    config = transformers.LlamaConfig(**cases.MODELS[o["model"]], attn_implementation="sdpa", use_cache=False)
    torch.set_default_dtype(dtype)
    with torch.device(o["device"]):
        model = transformers.LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
        base = sum(p.numel() for p in model.parameters())
        model.requires_grad_(False)
        tiny = o["model"] == "tiny"
        if o["method"] == "double":
            controls.control_llama(model.model, cases.TINY_RANK if tiny else cases.CONTROL_RANK, both=True)
            for name, p in model.named_parameters():
                if name.endswith("lora_B.weight"):
                    torch.nn.init.zeros_(p)
            decoder = model.model
        else:
            from peft import LoraConfig, get_peft_model
            settings = dict(cases.LORA, **({"r": cases.TINY_RANK, "lora_alpha": 8} if tiny else {}))
            model = get_peft_model(model, LoraConfig(**settings))
            decoder = model.base_model.model.model
    for i, layer in enumerate(decoder.layers):
        decoder.layers[i] = MaybeCheckpointed(layer)
    model.to(o["device"])
    trained = [p for p in model.parameters() if p.requires_grad]
    for p in trained:
        p.data = p.data.float()
    model.train()
    return model, decoder, trained, base


class Clock:
    def __init__(self, device):
        self.cuda = device == "cuda"

    def now(self):
        if self.cuda:
            torch.cuda.synchronize()
        return time.monotonic()

    def begin_memory(self):
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def memory(self):
        return torch.cuda.max_memory_allocated() if self.cuda else None


def run(o, made, tokens, variant, clock):
    model, decoder, trained, _ = made
    sequences, length = cases.tokens_of(tokens)
    way = cases.variants(tokens)[variant]
    generator = torch.Generator(device=o["device"]).manual_seed(2)
    ids = torch.randint(0, model.config.vocab_size, (sequences, length), device=o["device"], generator=generator)
    for layer in decoder.layers:
        layer.on = way["checkpoint"]
    torch._dynamo.reset()
    called = torch.compile(model, dynamic=False) if way["compile"] else model
    optimizer = torch.optim.AdamW(trained, lr=o.get("lr", 1e-4), weight_decay=0.0, fused=True)
    seconds, losses = [], []
    clock.begin_memory()
    for _ in range(o["steps"]):
        begin, loss = clock.now(), 0.0
        optimizer.zero_grad(set_to_none=True)
        parts = ids.split(way["micro"])
        for part in parts:
            with torch.autocast(o["device"], torch.bfloat16, enabled=o["dtype"] == "bf16"):
                part_loss = called(input_ids=part, labels=part).loss * (len(part) / sequences)
            part_loss.backward()
            loss += part_loss.detach()
        optimizer.step()
        losses.append(float(loss))
        seconds.append(clock.now() - begin)
    counted = seconds[o["warm"]:]
    median = statistics.median(counted)
    return dict(fits=True, seconds=seconds, losses=losses, median=median, least=min(counted),
                tokens_per_second=sequences * length / median, memory=clock.memory(), first=seconds[0])


def failure(why):
    """A compiler may wrap what it met in an error of its own."""
    text = str(why).strip() or type(why).__name__
    if isinstance(why, torch.cuda.OutOfMemoryError) or "out of memory" in text.lower():
        return dict(fits=False, why=text.split(". ")[0][:300])
    return dict(fits=False, failed=f"{type(why).__name__}: {text.splitlines()[0][:300]}")


def main():
    o = json.loads(sys.argv[1])
    begin, clock = time.monotonic(), Clock(o["device"])
    made = make(o)
    print(json.dumps(dict(parameters=made[3] + sum(p.numel() for p in made[2]), trained=sum(p.numel() for p in made[2]),
                          making=clock.now() - begin, versions=f"PyTorch {torch.__version__}, transformers {transformers.__version__}")),
          flush=True)
    first = {n: p.detach().clone() for n, p in enumerate(made[2])}
    for tokens, variant in o["runs"]:
        for n, p in enumerate(made[2]):
            p.data.copy_(first[n])
        try:
            result = run(o, made, tokens, variant, clock)
        except Exception as why:  # the other ways are still wanted
            result = failure(why)
        for p in made[2]:
            p.grad = None
        print(json.dumps(dict(tokens=tokens, variant=variant, **result)), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    main()
