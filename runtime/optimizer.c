/* optimizer: one update of everything trained, as one flat array.
 *
 * First the gradient's L2 norm, then one pass that reads a gradient once and writes parameter and moments.
 * The norm is summed in double over at most MOST_CHUNKS chunks whose borders depend on the number of elements
 * alone, each chunk in LANES partial sums of fixed order, and then over the chunks in order: the threads
 * decide who sums, never how. A norm that is not finite (one NaN or infinity anywhere makes it so) stops the
 * update before anything is changed.
 *
 * The arithmetic is that of the arrays' element type; what is the same for all elements is computed in double
 * first. */
#include <math.h>

#include "runtime/session.h"

enum { MOST_CHUNKS = 512, LEAST_CHUNK = 4096, LANES = 8 };

typedef struct factors { /* what is the same for all elements */
    double scale;        /* of the gradient: clipping */
    double lr, decay, beta1, beta2, rest1, rest2, eps, momentum;
    double correct1, correct2; /* Adam's bias corrections, 1 / (1 - beta1^t) and 1 / sqrt(1 - beta2^t) */
} factors;

size_t ctl_optimizer_chunk(size_t n) {
    size_t size = (n + MOST_CHUNKS - 1) / MOST_CHUNKS;
    size = (size + LANES - 1) / LANES * LANES;
    return size < LEAST_CHUNK ? LEAST_CHUNK : size;
}

#ifdef _OPENMP
#define EACH_ALONE _Pragma("omp simd") /* elements do not depend on one another: vectors change no bits */
#else
#define EACH_ALONE
#endif

/* The bodies for f32 and f64, from one text. */
#define OPTIMIZER_OF(T, ROOT, SUFFIX)                                                                        \
    static double squares_##SUFFIX(const T *g, size_t n) {                                                   \
        double lane[LANES] = {0};                                                                            \
        size_t whole = n / LANES * LANES;                                                                    \
        for (size_t i = 0; i < whole; i += LANES)                                                            \
            for (size_t j = 0; j < LANES; j++) lane[j] += (double)g[i + j] * (double)g[i + j];               \
        for (size_t i = whole; i < n; i++) lane[i - whole] += (double)g[i] * (double)g[i];                   \
        return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));    \
    }                                                                                                        \
    static void adamw_##SUFFIX(const factors *f, size_t n, T *p, const T *g, T *m, T *v) {                   \
        T scale = (T)f->scale, keep = (T)(1.0 - f->lr * f->decay), beta1 = (T)f->beta1, beta2 = (T)f->beta2; \
        T rest1 = (T)f->rest1, rest2 = (T)f->rest2, eps = (T)f->eps;                                         \
        T rate = (T)(f->lr * f->correct1), correct2 = (T)f->correct2;                                        \
        EACH_ALONE                                                                                           \
        for (size_t i = 0; i < n; i++) {                                                                     \
            T gi = g[i] * scale;                                                                             \
            T mi = beta1 * m[i] + rest1 * gi;                                                                \
            T vi = beta2 * v[i] + rest2 * gi * gi;                                                           \
            m[i] = mi, v[i] = vi;                                                                            \
            p[i] = p[i] * keep - rate * mi / (ROOT(vi) * correct2 + eps);                                    \
        }                                                                                                    \
    }                                                                                                        \
    static void sgd_##SUFFIX(const factors *f, size_t n, T *p, const T *g, T *m) {                           \
        T scale = (T)f->scale, decay = (T)f->decay, momentum = (T)f->momentum, lr = (T)f->lr;                \
        EACH_ALONE                                                                                           \
        for (size_t i = 0; i < n; i++) {                                                                     \
            T mi = g[i] * scale + decay * p[i];                                                              \
            if (m) mi = m[i] = momentum * m[i] + mi;                                                         \
            p[i] -= lr * mi;                                                                                 \
        }                                                                                                    \
    }
OPTIMIZER_OF(float, sqrtf, f32)
OPTIMIZER_OF(double, sqrt, f64)

static double norm_of(const ctl_flat *flat, int threads) {
    double sums[MOST_CHUNKS];
    size_t size = ctl_optimizer_chunk(flat->count);
    int chunks = (int)((flat->count + size - 1) / size);
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static) if (chunks > 1)
#endif
    for (int c = 0; c < chunks; c++) {
        size_t first = (size_t)c * size, n = flat->count - first < size ? flat->count - first : size;
        sums[c] = flat->dtype == CTL_F64 ? squares_f64((const double *)flat->gradients + first, n)
                                         : squares_f32((const float *)flat->gradients + first, n);
    }
    double sum = 0;
    for (int c = 0; c < chunks; c++) sum += sums[c];
    (void)threads;
    return sqrt(sum);
}

static void update(const ctl_flat *flat, const factors *f, bool sgd, size_t first, size_t n) {
    if (flat->dtype == CTL_F64) {
        double *p = (double *)flat->params + first, *g = (double *)flat->gradients + first;
        double *m = flat->moment1 ? (double *)flat->moment1 + first : NULL;
        if (sgd)
            sgd_f64(f, n, p, g, m);
        else
            adamw_f64(f, n, p, g, m, (double *)flat->moment2 + first);
    } else {
        float *p = (float *)flat->params + first, *g = (float *)flat->gradients + first;
        float *m = flat->moment1 ? (float *)flat->moment1 + first : NULL;
        if (sgd)
            sgd_f32(f, n, p, g, m);
        else
            adamw_f32(f, n, p, g, m, (float *)flat->moment2 + first);
    }
}

ctl_status ctl_optimizer_apply(const ctl_flat *flat, const ctl_optimizer_step *o, int threads,
                               double *gradient_norm) {
    double norm = norm_of(flat, threads);
    *gradient_norm = norm;
    if (!isfinite(norm)) return CTL_ERR_NUMERIC;
    double t = (double)o->step;
    factors f = {.scale = o->clip > 0 && norm > o->clip ? o->clip / norm : 1.0,
                 .lr = o->lr,
                 .decay = o->weight_decay,
                 .beta1 = o->beta1,
                 .beta2 = o->beta2,
                 .rest1 = 1.0 - o->beta1,
                 .rest2 = 1.0 - o->beta2,
                 .eps = o->eps,
                 .momentum = o->momentum};
    if (!o->sgd) {
        f.correct1 = 1.0 / (1.0 - pow(o->beta1, t));
        f.correct2 = 1.0 / sqrt(1.0 - pow(o->beta2, t));
    }
    size_t size = ctl_optimizer_chunk(flat->count);
    int chunks = (int)((flat->count + size - 1) / size);
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static) if (chunks > 1)
#endif
    for (int c = 0; c < chunks; c++) {
        size_t first = (size_t)c * size;
        update(flat, &f, o->sgd, first, flat->count - first < size ? flat->count - first : size);
    }
    return CTL_OK;
}
