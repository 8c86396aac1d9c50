"""The stage correct: our steps against plain C (the reference executor), against PyTorch, and against themselves under other
budgets."""
import json
import pathlib
import re
import subprocess
import tempfile

import cases
from records import OK, WRONG
from work import Failed, Item, run_json

HERE = pathlib.Path(__file__).resolve().parent
FAMILIES = cases.ROOT / "examples/families.ctl"
# The largest distance of a loss, of a parameter's gradient: f32 sums have other orders; bf16 has 8 bits, and attention on tensor
# cores rounds what softmax gives.
BOUNDS = {"f32": (1e-5, 1e-4), "bf16": (0.01, 0.05)}
# Shapes that the families are too small for: head sizes, more than a tile of rows, grouped heads.
SHAPES = [("head 64", ["model.dim=128", "model.heads=2", "model.kv_heads=1", "tokens=2x80"]),
          ("head 128", ["model.dim=256", "model.heads=2", "model.kv_heads=2", "tokens=1x200"]),
          ("head 80", ["model.dim=160", "model.heads=2", "model.kv_heads=2", "tokens=3x33"])]


def tunes(path):
    return re.findall(r"^tune (\w+) =", path.read_text(), re.M)


def bench(o, spec, *more):
    return [str(o.ctlc), "bench", str(spec), "--engine", o.engine, "--json", *o.ctlc_options, *more]


def beside_item(o, name, spec, compute, more, stage):
    def run(left):
        r = run_json(bench(o, spec, "--steps", "3", "--beside", "reference", "--compute", compute, *more), left, o.environment)
        loss, gradients = (float("inf") if r[k] is None else r[k] for k in ("loss_apart", "gradients_apart"))
        right = loss <= BOUNDS[compute][0] and gradients <= BOUNDS[compute][1]
        yield name, OK if right else WRONG, dict(
            loss_apart=r["loss_apart"], gradients_apart=r["gradients_apart"], at=r["apart_at"],
            **({} if right else {"why": f"losses differ by {loss:.2g}, gradients by {gradients:.2g} (at {r['apart_at']}): "
                                        f"the bounds are {BOUNDS[compute][0]:.2g} and {BOUNDS[compute][1]:.2g}"}))
    return Item(name, stage, 2, run)


def beside_items(o, stage, few=False):
    items = []
    for compute in ("f32", "bf16"):
        for tune in tunes(FAMILIES):
            items.append(beside_item(o, f"correct {tune} {compute}", FAMILIES, compute, ["--tune", tune], stage))
        for name, sets in SHAPES:
            more = [w for s in sets for w in ("--set", s)]
            items.append(beside_item(o, f"correct {name} {compute}", cases.spec("tiny", "lora"), compute, more, stage))
    return items[::4] if few else items


def budget_item(o, name, spec, more, stage):
    """One split, three budgets: the same bits."""
    def run(left):
        sizes, hashes = {}, {}
        for memory in ("max", "min", "between"):
            budget = str((sizes["max"] + sizes["min"]) // 2 + withheld) if memory == "between" else memory
            r = run_json(bench(o, spec, "--steps", "2", "--warm", "1", "--split", "2", "--memory", budget, *more), left, o.environment)
            sizes[memory], hashes[memory], withheld = r["planned"], r["gradients"], r["withheld"]
        right = len(set(hashes.values())) == 1
        yield name, OK if right else WRONG, dict(bytes=list(sizes.values()), gradients=list(hashes.values()),
                                                 **({} if right else {"why": "gradients differ between budgets"}))
    return Item(name, stage, 6, run)


def read_losses(folder):
    lines = [json.loads(x) for x in (pathlib.Path(folder) / "log.jsonl").read_text().splitlines()]
    return [x["loss"] for x in lines if "loss" in x]


def training_item(o, stage, steps=20, bound=1e-4):
    name = "correct training"

    def run(left):
        with tempfile.TemporaryDirectory(prefix="gpu_check_") as folder:
            settings = dict(folder=folder, device=o.peer_device, steps=steps, sequences=4, length=16)
            theirs = run_json([o.peer_python, str(HERE / "train_peer.py"), json.dumps(settings)], left, o.environment)["losses"]
            command = [str(o.ctlc), "train", str(cases.spec("tiny", "train")), "--engine", o.engine, "--weights", f"{folder}/base",
                       "--adapter", f"{folder}/adapter", "--data", f"{folder}/tokens.safetensors", "--eval-fraction", "0", "--steps",
                       str(steps), "--out", f"{folder}/run", "--quiet", *o.ctlc_options]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=left, env=o.environment)
            except subprocess.TimeoutExpired:
                raise Failed(f"ctlc train: ended after {left:.0f} s, which was all that was left")
            if done.returncode:
                said = done.stderr.strip().splitlines() or ["it said nothing"]
                raise Failed(f"ctlc train: {next((x for x in said if 'error' in x), said[-1])[:300]} (exit code {done.returncode})")
            mine = read_losses(f"{folder}/run")
        apart = max((abs(a - b) / abs(b) for a, b in zip(mine, theirs)), default=float("inf"))
        right = len(mine) == len(theirs) == steps and apart <= bound and theirs[-1] < theirs[0]
        yield name, OK if right else WRONG, dict(ours=mine, pytorch=theirs, apart=apart, **(
            {} if right else {"why": f"{len(mine)} and {len(theirs)} losses, apart by {apart:.2g} of their size, bound {bound:.2g}"}))
    return Item(name, stage, 25, run)


def items(o, stage="correct", few=False):
    out = beside_items(o, stage, few)
    for method in ("double", "lora"):
        for compute in ("f32", "bf16"):
            out.append(budget_item(o, f"correct budgets {method} {compute}", cases.spec("tiny", method), ["--compute", compute], stage))
    return out + [training_item(o, stage)]
