/* dtype: element types, and bf16 by integer rounding (to nearest, ties to even; NaN stays NaN). */
#ifndef CTL_DTYPE_H
#define CTL_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ctl/dtype.h"

static inline float ctl_bf16_to_f32(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* What somebody who writes another word for a compute type had better write, and why; NULL: nobody knows. */
const char *ctl_compute_hint(const char *word);

static inline uint16_t ctl_f32_to_bf16(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

#endif
