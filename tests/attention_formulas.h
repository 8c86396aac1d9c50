/* attention_formulas: attention and its gradients by their formulas, in double, for the tests of every back end. The
 * gradients are checked against finite differences in test_cpu_attention.c. Include cmocka first. */
#ifndef CTL_TESTS_ATTENTION_FORMULAS_H
#define CTL_TESTS_ATTENTION_FORMULAS_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/dtype.h"

typedef struct attend_case {
    int64_t rows, head, heads, kv_heads, window;
    bool causal;
    ctl_dtype dtype, out;     /* of operands; of o and the gradients */
    const int64_t *documents; /* ends with 0; NULL: `longest` rows each */
    int64_t longest;
} attend_case;

typedef struct attention {
    const attend_case *c;
    int64_t *begin, *length; /* of each row's document */
    double *q, *k, *v, *d_o;
} attention;

static inline bool sees(const attention *a, int64_t t, int64_t s) {
    if (s < a->begin[t] || s >= a->begin[t] + a->length[t]) return false;
    if (a->c->causal && s > t) return false;
    return a->c->window == 0 || t - s < a->c->window;
}

/* Row t, query head h: probabilities over all rows, and log(sum(exp)). */
static inline double probabilities(const attention *a, int64_t t, int64_t h, double *p) {
    const attend_case *c = a->c;
    int64_t g = h / (c->heads / c->kv_heads);
    double most = -INFINITY, sum = 0;
    for (int64_t s = 0; s < c->rows; s++) {
        p[s] = -INFINITY;
        if (!sees(a, t, s)) continue;
        double x = 0;
        for (int64_t e = 0; e < c->head; e++)
            x += a->q[(t * c->heads + h) * c->head + e] * a->k[(s * c->kv_heads + g) * c->head + e];
        p[s] = x / sqrt((double)c->head);
        if (p[s] > most) most = p[s];
    }
    for (int64_t s = 0; s < c->rows; s++) sum += p[s] = exp(p[s] - most);
    for (int64_t s = 0; s < c->rows; s++) p[s] /= sum;
    return most + log(sum);
}

static inline void naive_forward(const attention *a, double *o, double *lse) {
    const attend_case *c = a->c;
    double *p = malloc((size_t)c->rows * sizeof *p);
    for (int64_t t = 0; t < c->rows; t++)
        for (int64_t h = 0; h < c->heads; h++) {
            int64_t g = h / (c->heads / c->kv_heads);
            double l = probabilities(a, t, h, p);
            if (lse) lse[t * c->heads + h] = l;
            for (int64_t e = 0; e < c->head; e++) {
                double x = 0;
                for (int64_t s = 0; s < c->rows; s++) x += p[s] * a->v[(s * c->kv_heads + g) * c->head + e];
                o[(t * c->heads + h) * c->head + e] = x;
            }
        }
    free(p);
}

/* Gradients by their formulas, in double; checked against finite differences below. */
static inline void naive_backward(const attention *a, const double *o, double *dq, double *dk, double *dv) {
    const attend_case *c = a->c;
    double *p = malloc((size_t)c->rows * sizeof *p), scale = 1 / sqrt((double)c->head);
    memset(dq, 0, (size_t)(c->rows * c->heads * c->head) * sizeof *dq);
    memset(dk, 0, (size_t)(c->rows * c->kv_heads * c->head) * sizeof *dk);
    memset(dv, 0, (size_t)(c->rows * c->kv_heads * c->head) * sizeof *dv);
    for (int64_t t = 0; t < c->rows; t++)
        for (int64_t h = 0; h < c->heads; h++) {
            int64_t g = h / (c->heads / c->kv_heads), at = (t * c->heads + h) * c->head;
            double across = 0;
            probabilities(a, t, h, p);
            for (int64_t e = 0; e < c->head; e++) across += o[at + e] * a->d_o[at + e];
            for (int64_t s = 0; s < c->rows; s++) {
                if (p[s] == 0) continue;
                int64_t to = (s * c->kv_heads + g) * c->head;
                double dp = 0;
                for (int64_t e = 0; e < c->head; e++) dp += a->d_o[at + e] * a->v[to + e];
                double ds = p[s] * (dp - across) * scale;
                for (int64_t e = 0; e < c->head; e++) {
                    dq[at + e] += ds * a->k[to + e];
                    dk[to + e] += ds * a->q[at + e];
                    dv[to + e] += p[s] * a->d_o[at + e];
                }
            }
        }
    free(p);
}

static inline void documents_of(attention *a) {
    const attend_case *c = a->c;
    a->begin = malloc((size_t)c->rows * sizeof *a->begin),
    a->length = malloc((size_t)c->rows * sizeof *a->length);
    int64_t longest = c->longest ? c->longest : c->rows;
    for (int64_t t = 0, d = 0; t < c->rows; d++) {
        int64_t n = c->documents ? c->documents[d] : longest < c->rows - t ? longest : c->rows - t;
        assert_true(n > 0);
        for (int64_t i = 0; i < n; i++) a->begin[t + i] = t, a->length[t + i] = n;
        t += n;
    }
}

#endif
