"""The stage conform: conform.cu on the device and on the host's stand-ins, on the same random words. What is exact must be equal
bit for bit (every NaN is one); what the device computes in its own way is held to a bound."""
import ctypes
import math
import random
import struct

from cases import ROOT
from cuda import NoDevice
from records import OK, WRONG
from work import Failed, Item

THREADS, WORDS = 128, 16
TEXTS = ["prelude", "math_prelude", "tensor_prelude"]


def source():
    folder = ROOT / "compiler/emit/cuda"
    text = "".join((folder / f"{n}.cu").read_text() for n in TEXTS)
    functions = (ROOT / "compiler/kernel/math.def").read_text()
    return text + (ROOT / "tools/gpu/conform.cu").read_text().replace('#include "compiler/kernel/math.def"', functions)


# ---- random words ----
def any_word(r):
    """Every kind of number: any bits, special ones, and mostly such as are met."""
    kind = r.random()
    if kind < 0.3:
        return r.getrandbits(32)
    if kind < 0.4:
        return r.choice([0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x3f800000])
    return bits(r.uniform(-1, 1) * 2.0 ** r.randint(-12, 12))


def usual(r):
    return bits(r.uniform(-1, 1) * 2.0 ** r.randint(-6, 6))


def bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def real(word):
    return struct.unpack("<f", struct.pack("<I", word))[0]


# ---- comparisons: what is wrong with one word, or None ----
def exact(mine, host):
    if mine != host:
        return f"{mine:#010x} instead of {host:#010x}"


def exact_real(mine, host):
    if mine != host and not (math.isnan(real(mine)) and math.isnan(real(host))):
        return f"{real(mine)!r} ({mine:#010x}) instead of {real(host)!r} ({host:#010x})"


def within(relative, absolute):
    def check(mine, host):
        a, b = real(mine), real(host)
        if a == b or (math.isnan(a) and math.isnan(b)):
            return None
        if not abs(a - b) <= relative * abs(b) + absolute:
            return f"{a!r} instead of {b!r}: further apart than {relative:.2g} of it"
    return check


# kernel: words for `a` and `b`, comparison, blocks, bytes of shared memory for a thread
KERNELS = {
    "conform_arithmetic": (any_word, exact_real, (24, 1, 1), 0),
    "conform_doubles": (usual, exact_real, (24, 1, 1), 0),
    "conform_functions": (any_word, exact_real, (24, 1, 1), 0),
    "conform_near": (usual, within(2.0**-21, 1e-7), (24, 1, 1), 0),
    "conform_dropout": (lambda r: r.getrandbits(32), exact, (16, 1, 1), 0),
    "conform_memory": (lambda r: r.getrandbits(30), exact, (16, 1, 1), 0),
    "conform_shuffle": (lambda r: r.getrandbits(30), exact, (16, 1, 1), 0),
    "conform_mma": (lambda r: r.getrandbits(32), exact_real, (16, 1, 1), 0),
    "conform_mma_near": (lambda r: r.getrandbits(32), within(2.0**-18, 4e-5), (16, 1, 1), 0),
    "conform_matrices": (lambda r: r.getrandbits(32), exact, (16, 1, 1), 16),
    "conform_copies": (lambda r: r.getrandbits(32), exact, (16, 1, 1), 32),
    "conform_places": (lambda r: 0, exact, (4, 3, 2), 0),
}
# Outputs that are whole numbers among reals', by kernel: compared as such.
WHOLE = {"conform_arithmetic": {8, 9, 10, 13}}


def compare(kernel, mine, host):
    """How many words are wrong, and the first."""
    _, check, _, _ = KERNELS[kernel]
    wrong, first = 0, None
    for at, (a, b) in enumerate(zip(mine, host)):
        test = exact if at % WORDS in WHOLE.get(kernel, ()) else check
        why = None if a == b else test(a, b)
        if why:
            wrong += 1
            first = first or f"thread {at // WORDS}, word {at % WORDS}: {why}"
    return wrong, first


def items(device, host, stage="conform", seed=1):
    modules = {}

    def module(of):
        if of not in modules:
            modules[of] = of.compile(source())
        return modules[of]

    def item(kernel):
        words, _, grid, shared = KERNELS[kernel]

        def run(left):
            r = random.Random(f"{seed} {kernel}")
            n = grid[0] * grid[1] * grid[2] * THREADS * WORDS
            inputs = [(ctypes.c_uint * n)(*(words(r) for _ in range(n))) for _ in range(2)]
            try:
                mine, theirs = (d.launch(module(d), kernel, grid, THREADS, shared * THREADS, inputs, n) for d in (device, host))
            except NoDevice as why:
                raise Failed(str(why))
            wrong, first = compare(kernel, mine, theirs)
            yield f"conform {kernel[8:]}", WRONG if wrong else OK, dict(words=n, wrong=wrong, **({"why": first} if first else {}))
        return Item(f"conform {kernel[8:]}", stage, 3, run)
    return [item(k) for k in KERNELS]
