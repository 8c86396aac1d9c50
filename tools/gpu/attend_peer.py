"""PyTorch's own attention on one shape, causal: seconds of forward, and of backward alone.

    attend_peer.py '{"device": "cuda", "repeats": 10, "sequences": 16, "length": 1024, "heads": 32, "kv_heads": 8, "head": 128}'

prints one line of JSON. Keys and values that heads share are laid out for each head before, which is not in the times."""
import json
import sys
import time

import torch


def least(run, repeats, cuda):
    best = float("inf")
    for _ in range(3 + repeats):
        if cuda:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return best


def main():
    o = json.loads(sys.argv[1])
    cuda = o["device"] == "cuda"
    shape = (o["sequences"], o["heads"], o["length"], o["head"])
    q, k, v, d = (torch.randn(shape, device=o["device"], dtype=torch.bfloat16) for _ in range(4))
    for x in (q, k, v):
        x.requires_grad_(True)

    def attend():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    out = attend()
    forward = least(attend, o["repeats"], cuda)
    backward = least(lambda: torch.autograd.grad(out, (q, k, v), d, retain_graph=True), o["repeats"], cuda)
    print(json.dumps(dict(forward=forward, backward=backward, torch=torch.__version__)))


if __name__ == "__main__":
    main()
