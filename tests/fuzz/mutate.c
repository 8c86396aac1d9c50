/* mutate: how the fuzzers of sources change one. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most); /* libFuzzer's own */

/* Half of the mutations move words or lines of the spec itself: they keep the grammar more often than bytes do, and so
 * reach what lies behind it. */
static bool is_word(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

static void piece_at(const uint8_t *data, size_t size, size_t at, bool line, size_t *begin, size_t *end) {
    *begin = *end = at;
    if (line) {
        while (*begin > 0 && data[*begin - 1] != '\n') --*begin;
        while (*end < size && data[*end] != '\n') ++*end;
        if (*end < size) ++*end;
        return;
    }
    while (*begin > 0 && is_word(data[*begin - 1]) && is_word(data[at])) --*begin;
    while (*end < size && is_word(data[*end]) && is_word(data[at])) ++*end;
    if (*end == *begin) *end = at + 1;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    if (seed % 2 || size < 2) return LLVMFuzzerMutate(data, size, most);
    uint64_t dice = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    dice ^= dice >> 29, dice *= UINT64_C(0xBF58476D1CE4E5B9), dice ^= dice >> 32;
    size_t from, from_end, to, to_end;
    bool line = dice >> 60 & 1;
    piece_at(data, size, (dice & 0xffffff) % size, line, &from, &from_end);
    piece_at(data, size, (dice >> 24 & 0xffffff) % size, line, &to, &to_end);
    /* The piece at `to` is replaced by, or follows, the piece at `from`; or it goes. */
    unsigned kind = (unsigned)(dice >> 61) % 4;
    size_t n = kind == 0 ? 0 : from_end - from, gone = kind == 1 ? 0 : to_end - to;
    if (size - gone + n > most || n > 4096) return LLVMFuzzerMutate(data, size, most);
    uint8_t piece[4096];
    if (n) memcpy(piece, data + from, n);
    memmove(data + to + n, data + to + gone, size - to - gone);
    if (n) memcpy(data + to, piece, n);
    return size - gone + n;
}
