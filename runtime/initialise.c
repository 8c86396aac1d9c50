/* initialise: the first values of parameters that no file gives.
 *
 * Random numbers are counted (base/random.h): those of an element depend on the seed, the parameter's name
 * and the element's number in row-major order, and on nothing else; so another parameter, another layout or
 * another number of threads changes nothing. The key is the seed turned into another stream than dropout's.
 * One call of Philox gives four words: four uniform numbers of 24 bits, or by Box and Muller four normal
 * ones. */
#include <math.h>

#include "base/random.h"
#include "runtime/convert.h"
#include "runtime/session.h"

enum { BLOCK = 1024 }; /* elements made at a time, a multiple of 4 */
static const uint64_t INIT_STREAM = 0x9d5f1c7a3b2e6481u;

/* One word as a number in [-1, 1): 24 bits, so that it is still below 1 as f32. */
static double symmetric(uint32_t word) {
    return (word >> 8) / 8388608.0 - 1.0;
}

uint64_t ctl_init_key(uint64_t seed) { return seed ^ INIT_STREAM; }
uint64_t ctl_init_name(const ctl_program_param *p) { return ctl_hash(p->name, strlen(p->name), 0); }

static void make_block(const ctl_program_param *p, uint64_t seed, size_t first, size_t n, double *out) {
    if (p->init == PROGRAM_INIT_CONST || p->init == PROGRAM_INIT_EYE) {
        size_t cols = (size_t)p->cols;
        for (size_t i = 0; i < n; i++) {
            bool diagonal = (first + i) / cols == (first + i) % cols;
            out[i] = p->init == PROGRAM_INIT_CONST ? p->init_arg : diagonal ? 1.0 : 0.0;
        }
        return;
    }
    const uint64_t name = ctl_init_name(p), key = ctl_init_key(seed);
    for (size_t i = 0; i < n; i += 4) {
        uint64_t number = (first + i) / 4;
        uint32_t word[4];
        uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32), (uint32_t)name,
                               (uint32_t)(name >> 32)};
        ctl_philox(counter, key, word);
        double four[4];
        for (int j = 0; j < 4; j += 2) {
            if (p->init == PROGRAM_INIT_UNIFORM) {
                four[j] = p->init_arg * symmetric(word[j]),
                four[j + 1] = p->init_arg * symmetric(word[j + 1]);
            } else {
                double radius = p->init_arg * sqrt(-2.0 * log(ctl_unit(word[j])));
                double angle = 6.283185307179586477 * ctl_unit(word[j + 1]);
                four[j] = radius * cos(angle), four[j + 1] = radius * sin(angle);
            }
        }
        for (size_t j = 0; j < 4 && i + j < n; j++) out[i + j] = four[j];
    }
}

ctl_status ctl_session_param_initialise(ctl_session *s, size_t param) {
    const ctl_program_param *p = &s->program->params[param];
    size_t n = ctl_param_elements(p);
    int64_t blocks = (int64_t)((n + BLOCK - 1) / BLOCK);
    if (s->engine->initialise) return s->engine->initialise(s, param);
    void *base = s->engine->address(s, &p->value);
    uint64_t seed = s->seed;
    ctl_status status = CTL_OK;
    for (int64_t b = 0; !base && b < blocks && status == CTL_OK; b++) {
        double values[BLOCK];
        size_t first = (size_t)b * BLOCK, count = n - first < BLOCK ? n - first : BLOCK;
        make_block(p, seed, first, count, values);
        status = ctl_session_put(s, &p->value, first, count, CTL_F64, values);
    }
    if (!base) return status;
#ifdef _OPENMP
#pragma omp parallel for num_threads(s->threads) schedule(static) if (blocks > 16)
#endif
    for (int64_t b = 0; b < blocks; b++) {
        double values[BLOCK];
        size_t first = (size_t)b * BLOCK, count = n - first < BLOCK ? n - first : BLOCK;
        make_block(p, seed, first, count, values);
        ctl_matrix_put(base, &p->value, first, count, CTL_F64, values);
    }
    return CTL_OK;
}
