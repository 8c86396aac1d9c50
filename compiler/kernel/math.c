/* math: math.def as C functions. */
#include "compiler/kernel/math.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}
/* A right shift of a negative number is the implementation's choice in C: this one is not. */
static inline uint32_t shift_right(uint32_t a, int n) {
    return a >> n | ((a >> 31) ? ~(UINT32_MAX >> n) : 0);
}

#define REAL              const float
#define INT               const uint32_t
#define K(literal)        (literal)
#define I(literal)        ((uint32_t)(literal))
#define ADD(a, b)         ((a) + (b))
#define SUB(a, b)         ((a) - (b))
#define MUL(a, b)         ((a) * (b))
#define DIV(a, b)         ((a) / (b))
#define NEG(a)            (-(a))
#define ABS(a)            fabsf(a)
#define FMA(a, b, c)      fmaf((a), (b), (c))
#define GT(a, b)          ((a) > (b))
#define LT(a, b)          ((a) < (b))
#define EQ(a, b)          ((a) == (b))
#define ODD(a)            (((a)&1u) != 0)
#define SELECT(c, a, b)   ((c) ? (a) : (b))
#define BITS(a)           bits_of(a)
#define FROM_BITS(a)      from_bits(a)
#define IADD(a, b)        ((a) + (b))
#define ISUB(a, b)        ((a) - (b))
#define IAND(a, b)        ((a) & (b))
#define IXOR(a, b)        ((a) ^ (b))
#define ISHL(a, n)        ((a) << (n))
#define ISHR(a, n)        shift_right((a), (n))
#define TO_REAL(a)        ((float)(int32_t)(a))
#define CALL2(name, a, b) ctl_math_##name##f((a), (b))
#define RETURN(a)         return (a)

/* Not for others: parts of the functions below. */
float ctl_math_exp_sumf(float x, float tail);
float ctl_math_turnf(float x, float quarter);

#define MATH1(name, x, ...)                                                                                  \
    float ctl_math_##name##f(float x) {                                                                      \
        __VA_ARGS__                                                                                          \
    }
#define MATH2(name, x, y, ...)                                                                               \
    float ctl_math_##name##f(float x, float y) {                                                             \
        __VA_ARGS__                                                                                          \
    }
#include "compiler/kernel/math.def"
