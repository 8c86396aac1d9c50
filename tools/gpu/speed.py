"""The stages that measure time and memory: ours (ctlc bench), peers (peer.py), rates (rates.py), and the shares between them."""
import json
import pathlib
import tempfile
import time

import cases
from records import FAILED, OK, WRONG
from work import Item, lines_of, run_json

HERE = pathlib.Path(__file__).resolve().parent


# ---- ours ----
CONTEXT = "memory of the context"


def context_items(o, stage):
    """What a process takes of the device for nothing: driver's context, libraries. The whole device's use is read, so nobody else
    should be using it."""
    def measure(left):
        r = run_json([str(o.ctlc), "bench", str(cases.spec("tiny", "double")), "--engine", o.engine, "--json", "--steps", "2", "--warm", "1",
                      *o.ctlc_options], left, o.environment)
        held = r.get("device_held", 0)
        yield CONTEXT, OK, dict(device_held=held, device_used=r.get("device_used", 0), bytes=r.get("device_used", 0) - held)
    return [Item(CONTEXT, stage, 0 if o.host else 4, measure)]


def measured(records, r):
    """Bytes that a run takes of the device beyond a context, as the driver counts them; None: not known."""
    context = records.all.get(CONTEXT)
    if not r.get("device_used") or not context or context["status"] != OK:
        return None
    return r["device_used"] - context["bytes"]


def our_name(model, method, tokens, budget):
    return f"ours {model} {method} {tokens} {budget}"


def our_item(o, model, method, tokens, budget, stage, steps, estimate):
    def measure(left):
        command = [str(o.ctlc), "bench", str(cases.spec(model, method)), "--engine", o.engine, "--json", "--set", f"tokens={tokens}",
                   "--steps", str(steps), "--warm", str(min(3, steps - 1)), *cases.memory_options(budget, o.device_name), *o.ctlc_options]
        r = run_json(command, left, o.environment)
        values = {k: r.get(k) for k in ("planned", "allocated", "device_held", "device_used", "trained", "parameters", "split", "median", "least", "losses",
                                        "seconds", "compile_seconds", "open_seconds", "load_seconds", "flops", "extra_flops", "kernels")}
        values["tokens_per_second"] = r["tokens"] / r["median"]
        falls = method == "bare" or r["losses"][-1] < r["losses"][0]
        yield our_name(model, method, tokens, budget), OK if falls else WRONG, dict(
            values, **({} if falls else {"why": f"the loss does not fall: {r['losses'][0]:.4f} -> {r['losses'][-1]:.4f}"}))
    return Item(our_name(model, method, tokens, budget), stage, estimate, measure)


def our_items(o, stage, combinations):
    """combinations: (model, method, tokens, budget). Seconds are for an H100: start, compile, weights, steps."""
    items = []
    for model, method, tokens, budget in combinations:
        sequences, length = cases.tokens_of(tokens)
        step = sequences * length / 15000 * {"time": 1, "24 GiB": 1.5, "memory": 10}[budget]
        steps = 5 if budget == "memory" else 13
        items.append(our_item(o, model, method, tokens, budget, stage, steps, 0 if o.host else 12 + steps * step))
    return items


# ---- from a spec to a step that can run ----
def start_items(o, stage, model, method="double"):
    """With an empty cache of machine code, then with a full one; and of a small network with a full one, whose time is the
    context's and the libraries'."""
    name = f"start {model}"

    def seconds(spec, cache, left):
        r = run_json([str(o.ctlc), "bench", str(spec), "--engine", o.engine, "--json", "--steps", "1", "--warm", "0", *o.ctlc_options], left,
                     dict(o.environment, XDG_CACHE_HOME=cache))
        return r["compile_seconds"] + r["open_seconds"]

    def measure(left):
        with tempfile.TemporaryDirectory(prefix="gpu_check_") as cache:
            begin = time.monotonic()
            times = [seconds(s, cache, left - (time.monotonic() - begin))
                     for s in [cases.spec(model, method)] * 2 + [cases.spec("tiny", method)] * 2]
        cold, warm, _, context = times
        yield name, OK, dict(cold=cold, warm=warm, context=context)
    return [Item(name, stage, 0 if o.host else 30, measure)]


# ---- peers ----
COUNTS = ("trained", "parameters", "versions")


def peer_name(model, method, tokens, variant):
    return f"peer {model} {method} {tokens} {variant}"


def peer_items(o, stage, model, method, runs):
    """runs: (tokens, variant). One process does them all, those that there are results of left out."""
    names = {peer_name(model, method, *r): r for r in runs}

    def measure(left, wanted):
        settings = dict(model=model, method=method, device=o.peer_device, dtype="bf16" if o.peer_device == "cuda" else "f32",
                        steps=o.peer_steps, warm=min(3, o.peer_steps - 1), lr=1e-3, runs=[list(names[n]) for n in wanted])
        counts = None
        for r in lines_of([o.peer_python, str(HERE / "peer.py"), json.dumps(settings)], left, o.environment):
            if counts is None:
                counts = r
                continue
            name, values = peer_name(model, method, r["tokens"], r["variant"]), dict(r, **{k: counts[k] for k in COUNTS})
            if r.get("failed"):
                yield name, FAILED, dict(values, why=r["failed"])
            elif r["fits"] and not r["losses"][-1] < r["losses"][0]:
                yield name, WRONG, dict(values, why=f"the loss does not fall: {r['losses'][0]:.4f} -> {r['losses'][-1]:.4f}")
            else:
                yield name, OK, values
    estimate = 0 if o.peer_device == "cpu" else 30 + sum(100 if v.startswith("compile") else 20 for _, v in runs)
    return [Item(f"peers {model} {method}", stage, estimate, measure, parts=list(names), least=min(45, estimate))]


# ---- rates ----
def rate_items(o, stage, model, tokens, when, seconds=4):
    name = f"rates {model} {when}"

    def measure(left):
        settings = dict(model=model, tokens=tokens, device=o.peer_device, seconds=seconds)
        yield name, OK, run_json([o.peer_python, str(HERE / "rates.py"), json.dumps(settings)], left, o.environment)
    return [Item(name, stage, 0 if o.peer_device == "cpu" else 20 + seconds, measure)]


def best_rate(records, model):
    rates = [r["best"] for n, r in records.all.items() if n.startswith(f"rates {model} ") and r["status"] == OK]
    return max(rates) if rates else None


# ---- profile ----
def profile_items(o, combinations, stage="profile"):
    items = []
    for model, method, tokens in combinations:
        name = f"profile {model} {method} {tokens}"

        def measure(left, model=model, method=method, tokens=tokens, name=name):
            command = [str(o.ctlc), "bench", str(cases.spec(model, method)), "--engine", o.engine, "--json", "--profile", "--set",
                       f"tokens={tokens}", "--steps", "5", *cases.memory_options("time", o.device_name), *o.ctlc_options]
            r = run_json(command, left, o.environment)
            yield name, OK, dict(kernels=r["profile"], median=r["median"])
        items.append(Item(name, stage, 0 if o.host else 25, measure))
    return items
