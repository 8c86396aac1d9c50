/* convert: element types into one another. See convert.h.
 *
 * Everything goes through double, which holds every f32, bf16 and f16. Rounding double to f32 and then to 16
 * bits would round twice; so the f32 in between is rounded to odd (towards zero, with the last bit set when
 * anything was lost), which keeps what the second rounding has to know. */
#include "runtime/convert.h"

#include "base/dtype.h"

static float round_to_odd(double d) {
    float f = (float)d;
    if ((double)f == d || d != d) return f;
    uint32_t u;
    memcpy(&u, &f, 4);
    double magnitude = d < 0 ? -d : d, rounded = f < 0 ? -(double)f : (double)f;
    if (rounded > magnitude) u--;
    u |= 1;
    memcpy(&f, &u, 4);
    return f;
}

static double f16_to_f64(uint16_t h) {
    int exponent = h >> 10 & 31;
    double fraction = h & 0x3ff, value;
    if (exponent == 31) {
        uint32_t u = 0x7f800000u | (uint32_t)(h & 0x3ff) << 13;
        float f;
        memcpy(&f, &u, 4);
        value = f;
    } else if (exponent == 0) {
        value = fraction / 16777216.0; /* 2^-24 */
    } else {
        uint64_t u = (uint64_t)(exponent - 15 + 1023) << 52;
        memcpy(&value, &u, 8);
        value *= 1.0 + fraction / 1024.0;
    }
    return h & 0x8000 ? -value : value;
}

/* The same in f32, which holds every f16, without a branch: exponent and fraction in f32's places are the number times 2^-112, and the
 * product is exact. Infinity and NaN, whose exponent is another's, are put in; NaN is made quiet, as through double. */
static float f16_to_f32(uint16_t h) {
    const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    float f;
    uint32_t u;
    memcpy(&f, &magnitude, 4);
    f *= 0x1p112f;
    memcpy(&u, &f, 4);
    if (magnitude >= 0x7c00u << 13) u = magnitude | 0x7f800000u | (magnitude > 0x7c00u << 13 ? 0x400000u : 0);
    u |= sign;
    memcpy(&f, &u, 4);
    return f;
}

static uint16_t f32_to_f16(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) return sign | 0x7e00;
    if (u >= 0x477ff000u) return sign | 0x7c00; /* 65520 and above round to infinity */
    uint32_t exponent = u >> 23, kept, rest, half;
    if (exponent < 113) { /* below 2^-14: subnormal, in units of 2^-24 */
        uint32_t shift = 126 - exponent, mantissa = (u & 0x7fffffu) | 0x800000u;
        if (shift > 25) return sign;
        kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
    } else {
        kept = (u >> 13) - (112u << 10), rest = u & 0x1fffu, half = 0x1000u;
    }
    return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1)))));
}

static double load(ctl_dtype dtype, const char *at, size_t i) {
    if (dtype == CTL_F64) {
        double d;
        return memcpy(&d, at + 8 * i, 8), d;
    }
    if (dtype == CTL_F32) {
        float f;
        return memcpy(&f, at + 4 * i, 4), f;
    }
    if (dtype == CTL_I32) {
        int32_t k;
        return memcpy(&k, at + 4 * i, 4), k;
    }
    uint16_t h;
    memcpy(&h, at + 2 * i, 2);
    return dtype == CTL_BF16 ? ctl_bf16_to_f32(h) : f16_to_f64(h);
}

static void store(ctl_dtype dtype, char *at, size_t i, double d) {
    if (dtype == CTL_F64) {
        memcpy(at + 8 * i, &d, 8);
    } else if (dtype == CTL_F32) {
        float f = (float)d;
        memcpy(at + 4 * i, &f, 4);
    } else {
        float f = round_to_odd(d);
        uint16_t h = dtype == CTL_BF16 ? ctl_f32_to_bf16(f) : f32_to_f16(f);
        memcpy(at + 2 * i, &h, 2);
    }
}

bool ctl_dtype_is_real(ctl_dtype dtype) {
    return dtype == CTL_F64 || dtype == CTL_F32 || dtype == CTL_BF16 || dtype == CTL_F16;
}

void ctl_convert(ctl_dtype to, void *out, ctl_dtype from, const void *in, size_t n) {
    if (n == 0) return;
    if (to == from) {
        memcpy(out, in, n * ctl_dtype_size(to));
    } else if (to == CTL_BF16 &&
               from == CTL_F32) { /* what most checkpoints need: kept simple enough to vectorise */
        for (size_t i = 0; i < n; i++) {
            float f;
            memcpy(&f, (const char *)in + 4 * i, 4);
            uint16_t h = ctl_f32_to_bf16(f);
            memcpy((char *)out + 2 * i, &h, 2);
        }
    } else if (to == CTL_F32 && from == CTL_BF16) {
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, (const char *)in + 2 * i, 2);
            float f = ctl_bf16_to_f32(h);
            memcpy((char *)out + 4 * i, &f, 4);
        }
    } else if (to == CTL_BF16 && from == CTL_F16) { /* exact in f32, then rounded once */
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, (const char *)in + 2 * i, 2);
            h = ctl_f32_to_bf16(f16_to_f32(h));
            memcpy((char *)out + 2 * i, &h, 2);
        }
    } else if (to == CTL_F32 && from == CTL_F16) {
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, (const char *)in + 2 * i, 2);
            const float f = f16_to_f32(h);
            memcpy((char *)out + 4 * i, &f, 4);
        }
    } else {
        for (size_t i = 0; i < n; i++) store(to, out, i, load(from, in, i));
    }
}

void ctl_matrix_put(void *base, const ctl_operand *operand, size_t first, size_t count, ctl_dtype from,
                    const void *in) {
    size_t cols = (size_t)operand->cols, to_size = ctl_dtype_size(operand->dtype),
           from_size = ctl_dtype_size(from);
    for (size_t done = 0; done < count;) {
        size_t row = (first + done) / cols, col = (first + done) % cols;
        size_t n = cols - col < count - done ? cols - col : count - done;
        ctl_convert(operand->dtype, (char *)base + (row * (size_t)operand->stride + col) * to_size, from,
                    (const char *)in + done * from_size, n);
        done += n;
    }
}

void ctl_matrix_get(const void *base, const ctl_operand *operand, size_t first, size_t count, ctl_dtype to,
                    void *out) {
    size_t cols = (size_t)operand->cols, from_size = ctl_dtype_size(operand->dtype),
           to_size = ctl_dtype_size(to);
    for (size_t done = 0; done < count;) {
        size_t row = (first + done) / cols, col = (first + done) % cols;
        size_t n = cols - col < count - done ? cols - col : count - done;
        ctl_convert(to, (char *)out + done * to_size, operand->dtype,
                    (const char *)base + (row * (size_t)operand->stride + col) * from_size, n);
        done += n;
    }
}
