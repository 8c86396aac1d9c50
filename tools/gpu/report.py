"""What is printed at the end, and kept beside the results as Markdown: a line for each thing that was measured."""
import cases
import speed
from records import FAILED, LEFT_OUT, OK, WRONG

GIB = 2.0**30


def table(head, rows):
    """Markdown whose columns also line up as text."""
    widths = [max(len(str(r[k])) for r in [head, *rows]) for k in range(len(head))]
    line = lambda r: "| " + " | ".join(str(x).ljust(w) if k == 0 else str(x).rjust(w) for k, (x, w) in enumerate(zip(r, widths))) + " |"
    return [line(head), "|" + "|".join("-" * (w + 1) + (":" if k else "-") for k, w in enumerate(widths)) + "|", *map(line, rows)]


def counts(records):
    rows = []
    for stage in ("conform", "correct", "sanitize"):
        all_of = [r for r in records.all.values() if r["stage"] == stage]
        if all_of:
            n = {s: sum(r["status"] == s for r in all_of) for s in (OK, WRONG, FAILED, LEFT_OUT)}
            rows.append([stage, len(all_of), *n.values()])
    return table(["stage", "checks", "right", "wrong", "failed", "left out"], rows) + [""] if rows else []


def gib(n):
    return f"{n / GIB:.2f}" if n else "-"


def found(records, name):
    r = records.all.get(name)
    return r if r and r["status"] == OK else None


def best_peer(records, model, method, tokens):
    """The fastest way of a peer that fits, and its name."""
    ways = [(r["tokens_per_second"], r["variant"], r) for n, r in records.all.items()
            if n.startswith(f"peer {model} {method} {tokens} ") and r["status"] == OK and r.get("fits")]
    return max(ways, key=lambda w: w[0]) if ways else (None, None, None)


def ours(records):
    rows = []
    for name, r in records.all.items():
        if not name.startswith("ours ") or r["status"] != OK or name.split()[2] == "bare":
            continue
        _, model, method, tokens, *budget = name.split()
        budget = " ".join(budget)
        rate, bare = speed.best_rate(records, model), found(records, speed.our_name(model, "bare", tokens, budget))
        peer, _, _ = best_peer(records, model, method, tokens)
        speed_of = r["tokens_per_second"]
        rows.append([f"{model} {method}", tokens, budget, gib(r["planned"]), gib(speed.measured(records, r)),
                     f"{1e3 * r['median']:.1f}", f"{1e3 * r['least']:.1f}", f"{speed_of:.0f}",
                     f"{100 * cases.share_of_ceiling(model, speed_of, rate):.1f}%" if rate else "-",
                     f"{100 * (1 - bare['median'] / r['median']):.1f}%" if bare else "-",
                     f"{speed_of / peer:.2f}" if peer and budget == "time" else "-"])
    if not rows:
        return []
    return table(["ours", "tokens", "least", "planned GiB", "measured", "step ms", "least ms", "tokens/s", "of ceiling", "controls'",
                  "to the best peer"], rows) + [""]


def peers(records):
    rows = []
    for name, r in records.all.items():
        if not name.startswith("peer ") or r["status"] != OK:
            continue
        _, model, method, tokens, variant = name.split(" ", 4)
        rows.append([f"{model} {method}", tokens, variant] + (
            [gib(r["memory"]), f"{1e3 * r['median']:.1f}", f"{1e3 * r['least']:.1f}", f"{r['tokens_per_second']:.0f}"] if r["fits"]
            else ["-", "does not fit", "-", "-"]))
    return table(["PyTorch", "tokens", "way", "GiB", "step ms", "least ms", "tokens/s"], rows) + [""] if rows else []


def rates(records):
    rows = [[n[6:], f"{r['best'] / 1e12:.1f}", f"{min(r['rates'].values()) / 1e12:.1f}"]
            for n, r in records.all.items() if n.startswith("rates ") and r["status"] == OK]
    return table(["products on the shapes of", "best TFLOP/s", "slowest"], rows) + [""] if rows else []


def starts(records):
    rows = [[n[6:], f"{r['cold']:.2f}", f"{r['warm']:.2f}", f"{r['context']:.2f}", f"{r['cold'] - r['context']:.2f}", f"{r['warm'] - r['context']:.2f}"]
            for n, r in records.all.items() if n.startswith("start ") and r["status"] == OK]
    return table(["from a spec to a step, s", "empty cache", "full", "context", "empty less it", "full less it"], rows) + [""] if rows else []


def per_second(kernel, what, unit):
    return f"{kernel[what] / kernel['seconds'] / unit:.0f}" if kernel.get(what) and kernel["seconds"] else "-"


def profiles(records):
    out = []
    for name, r in records.all.items():
        if name.startswith("profile ") and r["status"] == OK:
            whole = sum(k["seconds"] for k in r["kernels"]) or 1
            rows = [[k["name"], k["times"], f"{1e3 * k['seconds']:.2f}", f"{100 * k['seconds'] / whole:.1f}%", per_second(k, "flops", 1e12),
                     per_second(k, "bytes", 1e9)] for k in r["kernels"][:25]]
            out += table([name[8:], "times", "ms a step", "share", "TFLOP/s", "GB/s"], rows) + [""]
    return out


def attention(records):
    rows = []
    for name, r in records.all.items():
        if name.startswith("attend peer ") and r["status"] == OK:
            rows += [[f"{name[12:]} PyTorch {k}", "-", "-", "-", f"{1e3 * r[k]:.3f}", f"{r[k + '_rate'] / 1e12:.0f}"] for k in ("forward", "backward")]
        elif name.startswith("attend ") and r["status"] == OK:
            rows += [[f"{name[7:]} {k['kernel']}", f"{k['tile']}{'*' if k['ours'] else ''}", k["warps"], k.get("registers", "-"),
                      f"{1e3 * k['seconds']:.3f}" if "seconds" in k else "not possible", f"{k['rate'] / 1e12:.0f}" if "rate" in k else "-"] for k in r["kernels"]]
    return table(["attention (*: ctlc's)", "tile", "warps", "registers", "ms", "TFLOP/s"], rows) + [""] if rows else []


def troubles(records):
    bad = [f"- {r['item']}: {r['status']}: {r.get('why', '')}" for r in records.all.values() if r["status"] in (WRONG, FAILED)]
    out = [r["item"] for r in records.all.values() if r["status"] == LEFT_OUT]
    return bad + ([f"- left out, for want of time: {', '.join(out)}"] if out else []) + ([""] if bad or out else [])


def text(records):
    builds = sorted({r["build"] for r in records.all.values()})
    head = [f"# {records.device}", "", "Written by `tools/gpu/check`; every figure is in the file of the same name that ends in "
            f".jsonl. Builds of ctlc: {', '.join(builds) or 'none'}.", ""]
    notes = ["A step: forward, backward, optimizer; median and least of those behind the first three. Of ceiling: 4 operations a",
             "parameter of a product and token, at the best rate of a product on the model's shapes. Controls': what a step takes",
             "more than one of the frozen model alone. Measured: the device's memory in use, less a context's.",
             "GB/s: a task's operands, each once.", ""]
    body = counts(records) + ours(records) + peers(records) + rates(records) + starts(records) + profiles(records) + attention(records)
    return "\n".join(head + body + (notes if ours(records) else []) + troubles(records))
