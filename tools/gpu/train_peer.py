"""A small training run in PyTorch that ctlc is to repeat: a tiny LLaMA with PEFT's LoRA.

    train_peer.py '{"folder": "DIR", "device": "cuda", "steps": 20, "sequences": 4, "length": 16}'

writes DIR/base (a checkpoint), DIR/adapter (PEFT's first values, B not zero) and DIR/tokens.safetensors (one document that
makes one batch), trains in f32, and prints {"losses": [..]}."""
import json
import pathlib
import sys

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

import cases

RATE = 5e-3  # tests/gpu/tiny_train.ctl


def main():
    o = json.loads(sys.argv[1])
    folder = pathlib.Path(o["folder"])
    torch.manual_seed(3)
    torch.backends.cuda.matmul.allow_tf32 = False
    config = transformers.LlamaConfig(**cases.MODELS["tiny"], use_cache=False, initializer_range=0.1)
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder / "base")
    lora = dict(cases.LORA, r=cases.TINY_RANK, lora_alpha=8, lora_dropout=0.0)
    model = get_peft_model(model, LoraConfig(**lora))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.05)
    model.save_pretrained(folder / "adapter")
    ids = torch.randint(0, config.vocab_size, (o["sequences"] * o["length"],), dtype=torch.int32)
    save_file({"ids": ids, "documents": torch.tensor([0, len(ids)])}, folder / "tokens.safetensors",
              {"format": "ctlc-tokens", "version": "1", "tokenizer": "random", "vocab": str(config.vocab_size), "pad": "0"})
    model.to(o["device"]).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    inputs = ids.long().view(o["sequences"], o["length"]).to(o["device"])
    labels = ids.long().roll(-1).to(o["device"])
    labels[-1] = -100  # the token behind the last is not known
    losses = []
    for _ in range(o["steps"]):
        optimizer.zero_grad()
        logits = model(input_ids=inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.view(-1, config.vocab_size), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(json.dumps(dict(losses=losses)))


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
