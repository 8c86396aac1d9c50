"""The best rate of bf16 products on a model's very shapes: what a step is measured against.

    rates.py '{"model": "llama2_7b", "tokens": ["16x256"], "device": "cuda", "seconds": 4}'

prints one line of JSON: of each shape and direction the best time of many, after the device is warm; operands are random, and
change from run to run so that none stays in a cache."""
import json
import sys
import time

import torch

import cases


def best_of(a, b, out, seconds, cuda):
    """Seconds of the fastest of many products; a and b: lists to take turns."""
    best, begin, n = float("inf"), time.monotonic(), 0
    while time.monotonic() - begin < seconds or n < 5:
        x, w = a[n % len(a)], b[n % len(b)]
        n += 1
        if cuda:
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            torch.matmul(x, w, out=out)
            last.record()
            last.synchronize()
            best = min(best, first.elapsed_time(last) / 1e3)
        else:
            at = time.monotonic()
            torch.matmul(x, w, out=out)
            best = min(best, time.monotonic() - at)
    return best


def main():
    o = json.loads(sys.argv[1])
    cuda = o["device"] == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float32
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    shapes = {(a, b) for a, b, _ in cases.products(o["model"])}
    work = [(t, a, b, back) for t in o["tokens"] for a, b in sorted(shapes) for back in (False, True)]
    each = o["seconds"] / len(work)
    rates = {}
    for tokens, inputs, outputs, back in work:
        sequences, length = cases.tokens_of(tokens)
        rows = sequences * length
        weights = [torch.randn(outputs, inputs, device=o["device"], dtype=dtype) for _ in range(2)]
        k, n = (outputs, inputs) if back else (inputs, outputs)
        x = [torch.randn(rows, k, device=o["device"], dtype=dtype) for _ in range(2)]
        out = torch.empty(rows, n, device=o["device"], dtype=dtype)
        seconds = best_of(x, [w if back else w.T for w in weights], out, each, cuda)
        rates[f"{tokens} {inputs}x{outputs}{' back' if back else ''}"] = 2 * rows * inputs * outputs / seconds
        del weights, x, out
    print(json.dumps(dict(rates=rates, best=max(rates.values()))))


if __name__ == "__main__":
    main()
