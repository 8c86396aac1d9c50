"""The dropout masks of ctlc, written from the description in base/random.h, in numpy: Philox 4x32-10 over counters
(row, column / 4, site, step) with the seed as key; word column % 4; dropped where the word is below p * 2^32, rounded to
the nearest."""
import numpy as np


def philox(counter, seed):
    """counter: four uint64 arrays of one shape, each below 2^32. The four words of the result."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    c = [np.asarray(x, dtype=np.uint64) for x in counter]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first = c[0] * np.uint64(0xD2511F53)
        second = c[2] * np.uint64(0xCD9E8D57)
        c = [(second >> half) ^ c[1] ^ np.uint64(key[0]), second & low,
             (first >> half) ^ c[3] ^ np.uint64(key[1]), first & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def kept(p, rows, columns, site, step, seed):
    """True where dropout with probability p leaves an element of a rows x columns value."""
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    words = philox((row, column // 4, np.full_like(row, site), np.full_like(row, step)), seed)
    word = np.choose(column % 4, words)
    return word >= min(int(np.floor(p * 2**32 + 0.5)), 2**32 - 1)


def check():
    """The published test vectors of Philox 4x32-10 (Random123's known answers)."""
    zeros = philox([np.array([0])] * 4, 0)
    assert [int(x[0]) for x in zeros] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = philox([np.array([0xFFFFFFFF])] * 4, 0xFFFFFFFFFFFFFFFF)
    assert [int(x[0]) for x in ones] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
