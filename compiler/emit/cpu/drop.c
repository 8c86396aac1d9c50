/* drop: dropout's counted random numbers (base/random.h) in vectors. One counter gives four words, for four
 * neighbouring columns: in a loop that takes 64 columns at a time, or over columns known when the kernel is
 * written, ten rounds in 16 lanes serve four chunks, each of which takes the words of four lanes. Elsewhere, and
 * where a shift of columns puts 16 lanes across blocks of 64, each lane counts for itself and picks its word. */
#include "compiler/emit/cpu/build.h"

#include "base/random.h"

typedef LLVMValueRef value;

/* Both halves of the products of 32-bit words with a constant. Vectors are multiplied as pairs of 64 bits,
 * even words and odd ones, which is what the processors have; x86 keeps the even word low. */
static void multiply(ctl_cpu_builder *e, const ctl_cpu_shape *s, value x, uint32_t by, value *high,
                     value *low) {
    LLVMTypeRef wide = s->lanes == 1 ? e->i64 : LLVMVectorType(e->i64, s->lanes / 2);
    value pair[CTL_LANES / 2], factor = LLVMConstInt(e->i64, by, 0), shift = LLVMConstInt(e->i64, 32, 0);
    value half = LLVMConstInt(e->i64, 0xffffffffu, 0);
    if (s->lanes == 1) {
        value product = LLVMBuildMul(e->at, LLVMBuildZExt(e->at, x, wide, ""), factor, "");
        *high = LLVMBuildTrunc(e->at, LLVMBuildLShr(e->at, product, shift, ""), s->word, "");
        *low = LLVMBuildTrunc(e->at, product, s->word, "");
        return;
    }
    value *constants[] = {&factor, &shift, &half};
    for (unsigned k = 0; k < 3; k++) {
        for (unsigned j = 0; j < CTL_LANES / 2; j++) pair[j] = *constants[k];
        *constants[k] = LLVMConstVector(pair, CTL_LANES / 2);
    }
    value both = LLVMBuildBitCast(e->at, x, wide, "");
    value even = LLVMBuildMul(e->at, LLVMBuildAnd(e->at, both, half, ""), factor, "");
    value odd = LLVMBuildMul(e->at, LLVMBuildLShr(e->at, both, shift, ""), factor, "");
    value even_words = LLVMBuildBitCast(e->at, even, s->word, "");
    value odd_words = LLVMBuildBitCast(e->at, odd, s->word, "");
    value lows[CTL_LANES], highs[CTL_LANES];
    for (unsigned j = 0; j < CTL_LANES; j++) {
        unsigned from = j / 2 * 2 + (j % 2 ? CTL_LANES : 0);
        lows[j] = LLVMConstInt(e->one.word, from, 0);
        highs[j] = LLVMConstInt(e->one.word, from + 1, 0);
    }
    *low = LLVMBuildShuffleVector(e->at, even_words, odd_words, LLVMConstVector(lows, CTL_LANES), "");
    *high = LLVMBuildShuffleVector(e->at, even_words, odd_words, LLVMConstVector(highs, CTL_LANES), "");
}

static value spread_word(ctl_cpu_builder *e, const ctl_cpu_shape *s, value x) {
    return s->lanes == 1 ? x : ctl_cpu_spread(e, x, s->word);
}

static void philox(ctl_cpu_builder *e, const ctl_cpu_shape *s, value place, value site, value word[4]) {
    value c0 = spread_word(e, s, e->batch_row), c1 = place;
    value c2 = spread_word(e, s, site), c3 = spread_word(e, s, e->step);
    value k0 = e->key[0], k1 = e->key[1];
    for (int round = 0; round < 10; round++) {
        value high0, low0, high2, low2;
        multiply(e, s, c0, 0xD2511F53u, &high0, &low0);
        multiply(e, s, c2, 0xCD9E8D57u, &high2, &low2);
        c0 = LLVMBuildXor(e->at, LLVMBuildXor(e->at, high2, c1, ""), spread_word(e, s, k0), "");
        c2 = LLVMBuildXor(e->at, LLVMBuildXor(e->at, high0, c3, ""), spread_word(e, s, k1), "");
        c1 = low2, c3 = low0;
        k0 = LLVMBuildAdd(e->at, k0, ctl_cpu_word(&e->one, 0x9E3779B9u), "");
        k1 = LLVMBuildAdd(e->at, k1, ctl_cpu_word(&e->one, 0xBB67AE85u), "");
    }
    word[0] = c0, word[1] = c1, word[2] = c2, word[3] = c3;
}

static value pick(ctl_cpu_builder *e, const ctl_cpu_shape *s, value column, const value word[4]) {
    value bit0 = LLVMBuildTrunc(e->at, column, s->truth, "");
    value bit1 = LLVMBuildTrunc(e->at, LLVMBuildLShr(e->at, column, ctl_cpu_word(s, 1), ""), s->truth, "");
    value low = LLVMBuildSelect(e->at, bit0, word[1], word[0], "");
    value high = LLVMBuildSelect(e->at, bit0, word[3], word[2], "");
    return LLVMBuildSelect(e->at, bit1, high, low, "");
}

/* The words of 16 columns out of those of 64: the four words of each of the lanes 4 * chunk .. + 3, one lane after the other. Two
 * steps, as pairs of words and pairs of pairs, are what processors have instructions for. */
static value interleave(ctl_cpu_builder *e, const value word[4], unsigned chunk) {
    value pairs[2], lanes[CTL_LANES];
    for (unsigned j = 0; j < 8; j++) lanes[j] = LLVMConstInt(e->one.word, 4 * chunk + j / 2 + (j % 2 ? CTL_LANES : 0), 0);
    for (unsigned k = 0; k < 2; k++)
        pairs[k] = LLVMBuildShuffleVector(e->at, word[2 * k], word[2 * k + 1], LLVMConstVector(lanes, 8), "");
    for (unsigned j = 0; j < CTL_LANES; j++) lanes[j] = LLVMConstInt(e->one.word, j / 4 * 2 + j % 2 + (j / 2 % 2 ? 8 : 0), 0);
    return LLVMBuildShuffleVector(e->at, pairs[0], pairs[1], LLVMConstVector(lanes, CTL_LANES), "");
}

LLVMValueRef ctl_cpu_drop(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, uint32_t instr, int64_t offset,
                          LLVMValueRef x) {
    const ctl_cpu_shape *s = chunk->shape;
    const ctl_row_instr *q = &e->p->at[instr];
    value base = LLVMBuildTrunc(e->at, chunk->base, e->one.word, "");
    value site = e->sites[q->i[0]], random;
    /* A multiple of 64 that makes every column positive, so that division rounds down. */
    const int64_t lift = (int64_t)CTL_ROW_WIDEST * 64;
    int64_t column = chunk->column + offset, known = chunk->base_mod_64 + column + lift;
    if (s->lanes > 1 && chunk->base_mod_64 >= 0 && known % 16 == 0) {
        ctl_cpu_words *w = &e->words[instr];
        if (w->group != chunk->group || w->block != known / 64) {
            int64_t begin = column - known % 64;
            value first = LLVMBuildAdd(e->at, base, ctl_cpu_word(&e->one, (uint32_t)begin), "");
            value place = spread_word(e, s, LLVMBuildLShr(e->at, first, ctl_cpu_word(&e->one, 2), ""));
            philox(e, s, LLVMBuildAdd(e->at, place, e->lane, ""), site, w->word);
            w->group = chunk->group, w->block = known / 64;
        }
        random = interleave(e, w->word, (unsigned)(known % 64 / 16));
    } else {
        value word[4], at = LLVMBuildAdd(e->at, base, ctl_cpu_word(&e->one, (uint32_t)column), "");
        if (s->lanes > 1) at = LLVMBuildAdd(e->at, ctl_cpu_spread(e, at, s->word), e->lane, "");
        philox(e, s, LLVMBuildLShr(e->at, at, ctl_cpu_word(s, 2), ""), site, word);
        random = pick(e, s, at, word);
    }
    value dropped = LLVMBuildICmp(e->at, LLVMIntULT, random, ctl_cpu_word(s, ctl_drop_threshold(q->f)), "");
    value kept = LLVMBuildFDiv(e->at, x, ctl_cpu_real(s, (float)(1.0 - q->f)), "");
    return LLVMBuildSelect(e->at, dropped, ctl_cpu_real(s, 0), kept, "");
}
