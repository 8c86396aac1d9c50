/* blaslt: cuBLASLt's stand-in: matrices by columns, as its layouts and transposes say, summed in f32 along k in order, fused
 * multiply-adds as a device has them, and rounded once. It refuses what cuBLASLt would: misaligned operands, a workspace that is
 * none, types that do not go together. An algorithm is what the product was chosen for: run with another form, or with operands
 * less aligned than was said, it fails. A second algorithm sums from the end of k, so that its bits are others. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/standin/standin.h"

#define ENTRY(name, ...)                                                                                     \
    int name(__VA_ARGS__);                                                                                   \
    int name(__VA_ARGS__)
#define BEGIN(name)                                                                                          \
    do {                                                                                                     \
        const int begin_error = standin_call(name);                                                          \
        if (begin_error) return begin_error == 1 ? 1 : begin_error == 2 ? 3 : 14;                                                   \
    } while (0)
enum { F32 = 0, BF16 = 14, BAD = 7, EPILOGUE_BIAS = 4 };

typedef struct layout {
    int type;
    uint64_t rows, cols;
    int64_t stride, step;
    int32_t batch;
} layout;
typedef struct desc {
    int32_t turn_a, turn_b;
    uint32_t epilogue;
    uint64_t bias;
} desc;
typedef struct want {
    uint64_t workspace;
    uint32_t align[4];
} want;
typedef struct algorithm {
    uint64_t form, workspace;
    uint32_t align[4], bias, backwards;
    uint64_t rest[3];
} algorithm;
typedef struct proposal {
    algorithm a;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} proposal;

/* The algorithms that were run: a device loads an algorithm's kernel when it is first run, which a capture does not bear. */
enum { MOST_LOADED = 1024 };
typedef struct loads {
    uint64_t loaded[MOST_LOADED];
    size_t n;
} loads;
static int is_loaded(loads *h, const algorithm *a) {
    const uint64_t mine = standin_hash(a, sizeof *a);
    for (size_t k = 0; k < h->n; k++)
        if (h->loaded[k] == mine) return 1;
    if (standin_records() || h->n == MOST_LOADED) return 0;
    h->loaded[h->n++] = mine;
    return 1;
}

ENTRY(cublasLtCreate, void **out) {
    BEGIN("cublasLtCreate");
    *out = calloc(1, sizeof(loads)), standin.live++;
    return *out ? 0 : 3;
}
ENTRY(cublasLtDestroy, void *handle) {
    free(handle), standin.live--;
    BEGIN("cublasLtDestroy");
    return 0;
}
static void *made(size_t bytes) {
    standin.live++;
    return calloc(1, bytes);
}
static int freed(void *what) {
    free(what), standin.live--;
    return 0;
}
ENTRY(cublasLtMatmulDescCreate, void **out, int compute, int scale) {
    BEGIN("cublasLtMatmulDescCreate");
    if (compute != 68 || scale != F32) return BAD;
    return (*out = made(sizeof(desc))) ? 0 : 3;
}
ENTRY(cublasLtMatmulDescDestroy, void *d) {
    freed(d);
    BEGIN("cublasLtMatmulDescDestroy");
    return 0;
}
ENTRY(cublasLtMatmulDescSetAttribute, void *given, int attribute, const void *value, size_t size) {
    BEGIN("cublasLtMatmulDescSetAttribute");
    desc *d = given;
    void *const to = attribute == 3 ? (void *)&d->turn_a : attribute == 4 ? (void *)&d->turn_b
                   : attribute == 7 ? (void *)&d->epilogue : attribute == 8 ? (void *)&d->bias : NULL;
    if (!to || size != (attribute == 8 ? 8u : 4u)) return BAD;
    memcpy(to, value, size);
    return 0;
}
ENTRY(cublasLtMatrixLayoutCreate, void **out, int type, uint64_t rows, uint64_t cols, int64_t stride) {
    BEGIN("cublasLtMatrixLayoutCreate");
    if ((type != F32 && type != BF16) || rows == 0 || cols == 0 || stride < (int64_t)rows) return BAD;
    layout *l = *out = made(sizeof *l);
    if (!l) return 3;
    *l = (layout){type, rows, cols, stride, 0, 1};
    return 0;
}
ENTRY(cublasLtMatrixLayoutSetAttribute, void *given, int attribute, const void *value, size_t size) {
    BEGIN("cublasLtMatrixLayoutSetAttribute");
    layout *l = given;
    if (attribute == 5 && size == 4) memcpy(&l->batch, value, size);
    else if (attribute == 6 && size == 8) memcpy(&l->step, value, size);
    else return BAD;
    return l->batch < 1 || l->step < 0 ? BAD : 0;
}
ENTRY(cublasLtMatrixLayoutDestroy, void *l) {
    freed(l);
    BEGIN("cublasLtMatrixLayoutDestroy");
    return 0;
}
ENTRY(cublasLtMatmulPreferenceCreate, void **out) {
    BEGIN("cublasLtMatmulPreferenceCreate");
    want *w = *out = made(sizeof *w);
    if (!w) return 3;
    *w = (want){0, {256, 256, 256, 256}};
    return 0;
}
ENTRY(cublasLtMatmulPreferenceDestroy, void *w) {
    freed(w);
    BEGIN("cublasLtMatmulPreferenceDestroy");
    return 0;
}
ENTRY(cublasLtMatmulPreferenceSetAttribute, void *given, int attribute, const void *value, size_t size) {
    BEGIN("cublasLtMatmulPreferenceSetAttribute");
    want *w = given;
    if (attribute == 1 && size == 8) memcpy(&w->workspace, value, size);
    else if (attribute >= 5 && attribute <= 8 && size == 4) memcpy(&w->align[attribute - 5], value, size);
    else return BAD;
    return 0;
}

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x9e3779b97f4a7c15u; }
static uint64_t form_of(const desc *d, const layout *const *l) {
    uint64_t h = mix(mix(mix(1, (uint64_t)d->turn_a), (uint64_t)d->turn_b), d->epilogue);
    for (int k = 0; k < 4; k++) {
        h = mix(mix(mix(mix(h, (uint64_t)l[k]->type), l[k]->rows), l[k]->cols), (uint64_t)l[k]->stride);
        h = mix(mix(h, (uint64_t)l[k]->step), (uint64_t)l[k]->batch);
    }
    return h;
}
/* Of what the columns hold, as d = op(a) op(b) + c. The results of a batch lie apart. */
static int fits(const desc *d, const layout *const *l) {
    const uint64_t whole = (l[3]->cols - 1) * (uint64_t)l[3]->stride + l[3]->rows;
    for (int k = 0; k < 3; k++)
        if (l[k]->batch != l[3]->batch) return 0;
    if (l[3]->batch > 1 && (uint64_t)l[3]->step < whole) return 0;
    const uint64_t m = d->turn_a ? l[0]->cols : l[0]->rows, k = d->turn_a ? l[0]->rows : l[0]->cols;
    const uint64_t k2 = d->turn_b ? l[1]->cols : l[1]->rows, n = d->turn_b ? l[1]->rows : l[1]->cols;
    return k == k2 && l[3]->rows == m && l[3]->cols == n && l[2]->rows == m && l[2]->cols == n && l[0]->type == l[1]->type &&
           l[2]->type == l[3]->type && (l[0]->type == BF16 || l[3]->type == F32);
}
static uint32_t alignment_of(uint64_t at) {
    uint32_t most = 256;
    while (at % most) most /= 2;
    return most;
}

ENTRY(cublasLtMatmulAlgoGetHeuristic, void *handle, void *d, void *a, void *b, void *c, void *out, void *given, int most,
      proposal *proposals, int *n) {
    BEGIN("cublasLtMatmulAlgoGetHeuristic");
    const layout *const l[] = {a, b, c, out};
    const want *w = given;
    const desc *of = d;
    *n = 0;
    if (!handle || most < 1 || !fits(of, l)) return BAD;
    for (int k = 0; k < 4; k++) /* an element's size is the least */
        if (w->align[k] < (l[k]->type == BF16 ? 2u : 4u)) return 15;
    const uint64_t workspace = standin.proposal ? w->workspace / 2 : w->workspace;
    proposals[0] = (proposal){.a = {.form = form_of(of, l), .workspace = workspace, .bias = alignment_of(of->bias),
                                    .backwards = standin.proposal != 0},
                              .workspace = workspace};
    memcpy(proposals[0].a.align, w->align, sizeof w->align);
    *n = 1, standin.proposals++;
    return 0;
}

ENTRY(cublasLtMatmulAlgoCheck, void *handle, void *d, void *a, void *b, void *c, void *out, const algorithm *chosen,
      proposal *result) {
    BEGIN("cublasLtMatmulAlgoCheck");
    const layout *const l[] = {a, b, c, out};
    const desc *of = d;
    if (!handle || !fits(of, l)) return BAD;
    if (standin.refuses || chosen->form != form_of(of, l) || alignment_of(of->bias) < chosen->bias) return 15;
    *result = (proposal){.a = *chosen, .workspace = chosen->workspace};
    return 0;
}
size_t cublasLtGetVersion(void);
size_t cublasLtGetVersion(void) { return standin.version; }

typedef struct product {
    layout a, b, c, d;
    int turn_a, turn_b;
    int backwards;
    const char *at, *bt, *ct, *bias;
    char *dt, *workspace;
    size_t bytes;
    float beta;
} product;
static float element(const char *base, int type, uint64_t i) {
    float x;
    uint16_t half;
    if (type == F32) return memcpy(&x, base + 4 * i, 4), x;
    memcpy(&half, base + 2 * i, 2);
    const uint32_t bits = (uint32_t)half << 16;
    return memcpy(&x, &bits, 4), x;
}
static void put(char *base, int type, uint64_t i, float x) {
    uint32_t bits;
    if (type == F32) {
        memcpy(base + 4 * i, &x, 4);
        return;
    }
    memcpy(&bits, &x, 4);
    bits = x != x ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1u);
    const uint16_t half = (uint16_t)(bits >> 16);
    memcpy(base + 2 * i, &half, 2);
}
static size_t size_of(const layout *l) { return l->type == BF16 ? 2 : 4; }
static int run_one(product p, int64_t nth) {
    p.at += (size_t)(nth * p.a.step) * size_of(&p.a), p.bt += (size_t)(nth * p.b.step) * size_of(&p.b);
    p.ct += (size_t)(nth * p.c.step) * size_of(&p.c), p.dt += (size_t)(nth * p.d.step) * size_of(&p.d);
    const uint64_t m = p.d.rows, n = p.d.cols, depth = p.turn_a ? p.a.rows : p.a.cols;
    float *left = malloc(m * depth * sizeof *left), *right = malloc(depth * n * sizeof *right);
    if (!left || !right) return free(left), free(right), standin_fault("no memory for a product");
    memset(p.workspace, 0xff, p.bytes < 4096 ? p.bytes : 4096); /* it is the product's to write to */
    for (uint64_t i = 0; i < m; i++)
        for (uint64_t k = 0; k < depth; k++)
            left[i * depth + k] = element(p.at, p.a.type, p.turn_a ? i * (uint64_t)p.a.stride + k : k * (uint64_t)p.a.stride + i);
    for (uint64_t j = 0; j < n; j++)
        for (uint64_t k = 0; k < depth; k++)
            right[j * depth + k] = element(p.bt, p.b.type, p.turn_b ? k * (uint64_t)p.b.stride + j : j * (uint64_t)p.b.stride + k);
    for (uint64_t j = 0; j < n; j++)
        for (uint64_t i = 0; i < m; i++) {
            float sum = 0;
            for (uint64_t turn = 0; turn < depth; turn++) {
                const uint64_t k = p.backwards ? depth - 1 - turn : turn;
                sum = fmaf(left[i * depth + k], right[j * depth + k], sum);
            }
            if (p.beta != 0) sum += p.beta * element(p.ct, p.c.type, j * (uint64_t)p.c.stride + i);
            if (p.bias) sum += element(p.bias, p.d.type, i);
            put(p.dt, p.d.type, j * (uint64_t)p.d.stride + i, sum);
        }
    free(left), free(right);
    return 0;
}
static int run_product(const void *payload) {
    product p;
    int failed = 0;
    memcpy(&p, payload, sizeof p);
    for (int64_t k = 0; k < p.d.batch && !failed; k++) failed = run_one(p, k);
    standin.products++;
    return failed;
}
static size_t extent(const layout *l) {
    return ((size_t)(l->batch - 1) * (size_t)l->step + (size_t)(l->cols - 1) * (size_t)l->stride + (size_t)l->rows) * size_of(l);
}

ENTRY(cublasLtMatmul, void *handle, void *given, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout,
      const void *beta, const void *c, void *c_layout, void *d, void *d_layout, const algorithm *chosen, void *workspace,
      size_t bytes, void *stream) {
    BEGIN("cublasLtMatmul");
    const desc *of = given;
    const layout *const l[] = {a_layout, b_layout, c_layout, d_layout};
    const void *const at[] = {a, b, c, d};
    product p = {*l[0], *l[1], *l[2], *l[3], of->turn_a, of->turn_b, (int)chosen->backwards, a, b, c,
                 of->epilogue == EPILOGUE_BIAS ? (const char *)(uintptr_t)of->bias : NULL, d, workspace, bytes, 0};
    memcpy(&p.beta, beta, sizeof p.beta);
    if (!handle || *(const float *)alpha != 1 || (p.beta != 0 && p.beta != 1)) return BAD;
    if (!is_loaded(handle, chosen)) return standin_fault("an algorithm is run first under capture"), 14;
    if (chosen->form != form_of(of, l)) return standin_fault("a product with the algorithm of another"), BAD;
    if (bytes < chosen->workspace || (uintptr_t)workspace % 256 || !standin_is_device(workspace, bytes))
        return standin_fault("a product without the workspace that it was chosen for"), BAD;
    for (int k = 0; k < 4; k++) {
        if (!standin_is_device(at[k], extent(l[k]))) return standin_fault("operand %d of a product is not the device's", k), BAD;
        if ((uintptr_t)at[k] % chosen->align[k] || (size_t)l[k]->step * size_of(l[k]) % chosen->align[k])
            return standin_fault("operand %d of a product is not aligned as was said", k), BAD;
        if (k != 3 && at[k] != d && (const char *)at[k] < (char *)d + extent(l[3]) && (char *)d < (const char *)at[k] + extent(l[k]) &&
            k < 2 && l[k]->stride == (int64_t)l[k]->rows && l[3]->stride == (int64_t)l[3]->rows)
            return standin_fault("a product's result lies on operand %d", k), BAD;
    }
    if (p.bias && (!standin_is_device(p.bias, l[3]->rows * (l[3]->type == BF16 ? 2 : 4)) || alignment_of(of->bias) < chosen->bias))
        return standin_fault("a product's bias is not the device's, or not aligned as was said"), BAD;
    return standin_enqueue(stream, run_product, &p, sizeof p) ? 14 : 0;
}
