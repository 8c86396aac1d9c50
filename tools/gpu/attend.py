"""The stage attend: attention's kernels in tiles of several sizes, on the models' shapes, and PyTorch's own attention beside them.

What a tile costs in registers and shared memory, and so how many blocks a multiprocessor holds, is known without a device; which
tile is the fastest is not. Each kernel is made from the very source that `ctlc build` writes, with other sizes; the sizes that ctlc
has (runtime/cuda/attend.h) come first, and what the others compute is compared with what those compute. The answer belongs into
that header."""
import concurrent.futures
import ctypes
import json
import pathlib
import random
import struct
import subprocess
import tempfile
from ctypes import c_float, c_int, c_int64, c_uint64

import cases
from cuda import NoDevice
from records import OK, WRONG
from work import Failed, Item, run_json

HERE = pathlib.Path(__file__).resolve().parent
# kernel: its size's name, sizes, products of rows by keys that it makes, what it writes
KERNELS = {"forward": ("KEYS", (32, 64, 128), 2, ["o"]), "queries": ("KEYS", (16, 32, 64), 3, ["dq"]),
           "keys": ("QUERIES", (16, 32, 64), 4, ["dk", "dv"])}
WARPS = (4, 8)
# Two ways to compute the same in bf16: a few roundings, of numbers up to the largest.
APART = 2.0**-6


class Call(ctypes.Structure):  # attend_call of compiler/emit/cuda/attend_prelude.cu
    _fields_ = [(n, c_uint64) for n in "q k v out d_out o dq dk dv lse dots position length".split()] + \
        [(n + "_stride", c_int64) for n in "q k v out d_out o dq dk dv lse position length".split()] + \
        [(n, c_int) for n in "rows heads group causal window longest".split()] + \
        [("bf16_" + n, c_int) for n in "in o d_out dq dk dv out".split()] + [("scale", c_float)]


class Shape:
    def __init__(self, model, tokens):
        m = cases.MODELS[model]
        self.sequences, self.length = cases.tokens_of(tokens)
        self.heads, self.kv_heads = m["num_attention_heads"], m["num_key_value_heads"]
        self.head, self.rows = m["hidden_size"] // m["num_attention_heads"], self.sequences * self.length

    def operations(self, products):
        """Of what a causal mask leaves."""
        return products * 2 * self.head * self.heads * self.sequences * self.length * (self.length + 1) / 2


# ---- sources ----
def sources(o, spec):
    """Of the kernels, as ctlc writes them."""
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as folder:
        done = subprocess.run([str(o.ctlc), "build", str(spec), "--compute", "bf16", "--target", f"cuda:sm_{o.device.capability}", "--emit=cu",
                               "-o", folder], capture_output=True, text=True)
        if done.returncode:
            raise Failed(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "ctlc build fails")
        return {p.stem.split("_")[1]: p.read_text() for p in pathlib.Path(folder).glob("attend_*_*.cu")}


def with_tile(source, size, tile, warps):
    """The source for tiles of so many rows, and blocks of so many warps with 16 rows each."""
    own, out = next((x for x in source.splitlines() if x.startswith(f"#define {size} ")), f"#define {size}"), source
    for old, new in ((own, f"#define {size} {tile}"), ("#define OWN 64", f"#define OWN {16 * warps}"), ("attend_call, 128)", f"attend_call, {32 * warps})")):
        if out.count(old) != 1:
            raise Failed(f"the source has not one '{old}'")
        out = out.replace(old, new)
    return out


def tile_of(source, size):
    return int(next(x.split()[2] for x in source.splitlines() if x.startswith(f"#define {size} ")))


def shared_bytes(kernel, head, tile, warps):  # ctl_cuda_attend_shared of runtime/cuda/attend.h
    row, own = ((head + 15) // 16 * 16 + 8) * 2, 16 * warps
    if kernel == "forward":
        return max(2 * tile, own) * row
    return (2 * own + 2 * tile) * row + (16 * tile if kernel == "keys" else 0)


def variants(source, kernel, most):
    """(tile, warps), those of ctlc first; tiles of more than `most` rows are left out."""
    size, tiles, _, _ = KERNELS[kernel]
    ours = (tile_of(source, size), 4)
    return [ours] + [(t, w) for t in tiles for w in WARPS if (t, w) != ours and t <= most]


# ---- numbers ----
def some_bf16(r, n):
    words = [struct.unpack("<I", struct.pack("<f", r.gauss(0, 1)))[0] >> 16 for _ in range(n)]
    return struct.pack(f"<{n}H", *words)


def reals(data):
    return [struct.unpack("<f", struct.pack("<I", w << 16))[0] for (w,) in struct.iter_unpack("<H", data)]


def apart(mine, theirs):
    """The largest distance, of the largest number; infinite where one is no number."""
    most = max(map(abs, theirs))
    if any(x != x for x in mine + theirs) or not most > 0:
        return float("inf")
    return max(abs(a - b) for a, b in zip(mine, theirs)) / most


class Buffers:
    """On the device: operands with random numbers, and results, by the names of attend_call."""

    def __init__(self, device, shape):
        self.device, self.at, self.bytes = device, {}, {}
        block = some_bf16(random.Random(1), 1 << 14)
        for name in "q k v out d_out o dq dk dv".split():
            width = (shape.kv_heads if name in ("k", "v", "dk", "dv") else shape.heads) * shape.head
            self.make(name, 2 * shape.rows * width, block if name in ("q", "k", "v", "d_out") else b"\0" * len(block))
        for name in ("lse", "dots"):
            self.make(name, 4 * shape.rows * shape.heads, b"\0" * len(block))

    def make(self, name, size, block):
        self.at[name], self.bytes[name] = self.device.allocate(size), size
        for begin in range(0, size, len(block)):
            self.device.put(self.at[name] + begin, block[:size - begin])

    def some(self, name):
        """From the middle on: rows that see many keys, of more than one tile."""
        n = min(1 << 17, self.bytes[name] // 2 // 2 * 2)
        return reals(self.device.get(self.at[name] + self.bytes[name] // 2 // 2 * 2, n))

    def free(self):
        for at in self.at.values():
            self.device.free(at)


def call_of(shape, buffers):
    wide, narrow = shape.heads * shape.head, shape.kv_heads * shape.head
    strides = dict(q=wide, k=narrow, v=narrow, out=wide, d_out=wide, o=wide, dq=wide, dk=narrow, dv=narrow, lse=shape.heads)
    flags = {"bf16_" + n: 1 for n in "in o d_out dq dk dv out".split()}
    return Call(**buffers.at, **{n + "_stride": s for n, s in strides.items()}, **flags, rows=shape.rows, heads=shape.heads,
                group=shape.heads // shape.kv_heads, causal=1, longest=shape.length, scale=shape.head ** -0.5)


# ---- measuring ----
def blocks_of(kernel, shape, warps):
    return (shape.rows + 16 * warps - 1) // (16 * warps), shape.kv_heads if kernel == "keys" else shape.heads, 1


def measure_kernel(o, kernel, modules, source, shape, buffers):
    """Lines of the result: each variant's time, and how far its results are from those of ctlc's own tile."""
    own, lines = {}, []
    call, (_, _, products, outputs) = call_of(shape, buffers), KERNELS[kernel]
    for tile, warps in variants(source, kernel, shape.length if o.host else 128):
        shared = shared_bytes(kernel, shape.head, tile, warps)
        line = dict(kernel=kernel, tile=tile, warps=warps, shared=shared, ours=not own)
        try:
            function = o.device.function(modules[kernel, tile, warps], f"attend_{kernel}", shared)
            line.update(o.device.costs(function))
            seconds = o.device.seconds(function, blocks_of(kernel, shape, warps), 32 * warps, shared, call, 1 if o.host else 10)
        except NoDevice as why:  # more shared memory or registers than it has
            if not own:
                raise Failed(str(why))
            lines.append(dict(line, why=str(why)))
            continue
        got = {name: buffers.some(name) for name in outputs}
        own = own or got
        lines.append(dict(line, seconds=seconds, rate=shape.operations(products) / seconds,
                          apart=max(apart(got[n], own[n]) for n in outputs)))
    run_ours(o, kernel, modules, source, shape, buffers, call)
    return lines


def run_ours(o, kernel, modules, source, shape, buffers, call):
    """Once more, so that what the next kernel reads is ctlc's."""
    tile, warps = variants(source, kernel, 0)[0]
    shared = shared_bytes(kernel, shape.head, tile, warps)
    o.device.start(o.device.function(modules[kernel, tile, warps], f"attend_{kernel}", shared), blocks_of(kernel, shape, warps), 32 * warps, shared, call)
    if kernel == "forward":  # the sums of out * d_out, which both kernels of backward read
        call.out = buffers.at["o"]
        o.device.start(o.device.function(modules["dots"], "attend_dots", 0), ((shape.rows + 3) // 4, shape.heads, 1), 128, 0, call)


def item(o, stage, model, tokens, made):
    name = f"attend {model} {tokens}"

    def run(left):
        shape = Shape(model, tokens)
        if model not in made:
            texts = sources(o, cases.spec(model, "lora"))
            wanted = {"dots": texts["dots"]}
            for k in KERNELS:
                for tile, warps in variants(texts[k], k, shape.length if o.host else 128):
                    wanted[k, tile, warps] = with_tile(texts[k], KERNELS[k][0], tile, warps)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                images = dict(zip(wanted, pool.map(o.device.image, wanted.values())))
            made[model] = texts, {k: o.device.load(v) for k, v in images.items()}
        texts, modules = made[model]
        buffers, lines = Buffers(o.device, shape), []
        try:
            for kernel in KERNELS:
                lines += measure_kernel(o, kernel, modules, texts[kernel], shape, buffers)
        except NoDevice as why:
            raise Failed(str(why))
        finally:
            buffers.free()
        far = [x for x in lines if not x.get("apart", 0) <= APART]
        yield name, WRONG if far else OK, dict(kernels=lines, **({"why": f"{far[0]['kernel']} with tiles of {far[0]['tile']} rows and {far[0]['warps']} "
                                                                  f"warps is {far[0]['apart']:.2g} from ctlc's own"} if far else {}))
    return Item(name, stage, 0 if o.host else 12, run)


def peer_item(o, stage, model, tokens):
    name = f"attend peer {model} {tokens}"

    def run(left):
        s = Shape(model, tokens)
        settings = dict(device=o.peer_device, repeats=o.peer_steps, sequences=s.sequences, length=s.length, heads=s.heads,
                        kv_heads=s.kv_heads, head=s.head)
        r = run_json([o.peer_python, str(HERE / "attend_peer.py"), json.dumps(settings)], left, o.environment)
        yield name, OK, dict(r, forward_rate=s.operations(2) / r["forward"], backward_rate=s.operations(5) / r["backward"])
    return Item(name, stage, 0 if o.peer_device == "cpu" else 15, run)


def items(o, stage="attend", models=None):
    """On the CPU alone there is nothing to choose."""
    made, out = {}, []
    for model in models or o.models:
        for tokens in o.tokens:
            out += [item(o, stage, model, tokens, made)] if o.engine == "cuda" else []
            out.append(peer_item(o, stage, model, tokens))
    return out
