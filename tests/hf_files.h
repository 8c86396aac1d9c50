/* Checkpoints as Hugging Face's libraries leave them, made by the tests: safetensors, whole or in shards with
 * their index, and config.json. A tensor's elements follow from its name and their number alone, so that a
 * test can say what must have been read. Include cmocka first. */
#ifndef CTL_TESTS_HF_FILES_H
#define CTL_TESTS_HF_FILES_H

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/convert.h"
#include "runtime/safetensors.h"

enum { HF_MOST = 128 };

typedef struct hf_tensor {
    char name[120];
    int64_t rows, cols; /* rows 0: [cols] */
} hf_tensor;

typedef struct hf_checkpoint {
    ctl_dtype dtype;
    hf_tensor at[HF_MOST];
    size_t n;
} hf_checkpoint;

/* Element i of a tensor: a multiple of 1/256 between -0.5 and 0.5, which every type holds exactly. */
static inline double hf_value(const char *name, size_t i) {
    uint64_t h = ctl_hash(name, strlen(name), i * 2 + 1);
    return ((double)(h % 257) - 128) / 256;
}

static inline void hf_add(hf_checkpoint *c, int64_t rows, int64_t cols, const char *fmt, ...)
    CTL_PRINTF(4, 5);
static inline void hf_add(hf_checkpoint *c, int64_t rows, int64_t cols, const char *fmt, ...) {
    assert_true(c->n < HF_MOST);
    hf_tensor *t = &c->at[c->n++];
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->name, sizeof t->name, fmt, args);
    va_end(args);
    t->rows = rows, t->cols = cols;
}

typedef struct hf_slice {
    const hf_checkpoint *c;
    size_t first;
} hf_slice;

/* Counted places are integers of a type that no parameter has. */
static inline bool hf_is_i64(const char *name) {
    return strstr(name, "position_ids") != NULL;
}

static inline ctl_status hf_give(void *ctx, size_t tensor, size_t first, size_t count, void *out) {
    const hf_slice *s = ctx;
    const char *name = s->c->at[s->first + tensor].name;
    for (size_t i = 0; i < count; i++) {
        double x = hf_value(name, first + i);
        if (hf_is_i64(name))
            ((int64_t *)out)[i] = (int64_t)(first + i);
        else
            ctl_convert(s->c->dtype, (char *)out + i * ctl_dtype_size(s->c->dtype), CTL_F64, &x, 1);
    }
    return CTL_OK;
}

static inline void hf_write_slice(const hf_checkpoint *c, const char *path, size_t first, size_t n) {
    ctl_tensor_spec specs[HF_MOST];
    for (size_t i = 0; i < n; i++) {
        const hf_tensor *t = &c->at[first + i];
        specs[i] = (ctl_tensor_spec){.name = t->name,
                                     .dtype = c->dtype,
                                     .ndims = t->rows ? 2 : 1,
                                     .dims = {t->rows ? t->rows : t->cols, t->cols},
                                     .file_dtype = hf_is_i64(t->name) ? "I64" : NULL};
    }
    hf_slice slice = {c, first};
    const char *const metadata[][2] = {{"format", "pt"}};
    const ctl_place place = {{0}, &ctl_malloc_allocator};
    assert_int_equal(ctl_tensors_save(path, specs, n, metadata, 1, hf_give, &slice, place), CTL_OK);
}

static inline void hf_text(const char *directory, const char *name, const char *text) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Into DIRECTORY/model.safetensors; or into `shards` files with their index, where shards > 1. */
static inline void hf_write(const hf_checkpoint *c, const char *directory, int shards) {
    char path[300];
    mkdir(directory, 0777);
    if (shards < 2) {
        snprintf(path, sizeof path, "%s/model.safetensors", directory);
        hf_write_slice(c, path, 0, c->n);
        return;
    }
    char index[HF_MOST * 200] = "{\"metadata\": {\"total_size\": 0}, \"weight_map\": {";
    for (int s = 0; s < shards; s++) {
        size_t first = c->n * (size_t)s / (size_t)shards, end = c->n * (size_t)(s + 1) / (size_t)shards;
        char name[60];
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", s + 1, shards);
        snprintf(path, sizeof path, "%s/%s", directory, name);
        hf_write_slice(c, path, first, end - first);
        for (size_t i = first; i < end; i++) {
            size_t used = strlen(index);
            snprintf(index + used, sizeof index - used, "%s\"%s\": \"%s\"", i ? ", " : "", c->at[i].name,
                     name);
        }
    }
    strcat(index, "}}");
    hf_text(directory, "model.safetensors.index.json", index);
}

/* A LLaMA: vocabulary 24, 16 wide, 4 heads of 4 with 2 for keys, feed-forward 20, `depth` blocks. */
static inline void hf_llama(hf_checkpoint *c, ctl_dtype dtype, int depth, bool tied, bool biased) {
    *c = (hf_checkpoint){.dtype = dtype};
    hf_add(c, 24, 16, "model.embed_tokens.weight");
    for (int i = 0; i < depth; i++) {
        static const struct {
            const char *name;
            int64_t rows, cols;
            bool bias;
        } parts[] = {{"self_attn.q_proj", 16, 16, true},        {"self_attn.k_proj", 8, 16, true},
                     {"self_attn.v_proj", 8, 16, true},         {"self_attn.o_proj", 16, 16, false},
                     {"mlp.gate_proj", 20, 16, false},          {"mlp.up_proj", 20, 16, false},
                     {"mlp.down_proj", 16, 20, false},          {"input_layernorm", 0, 16, false},
                     {"post_attention_layernorm", 0, 16, false}};
        for (size_t k = 0; k < CTL_COUNT(parts); k++) {
            hf_add(c, parts[k].rows, parts[k].cols, "model.layers.%d.%s.weight", i, parts[k].name);
            if (biased && parts[k].bias)
                hf_add(c, 0, parts[k].rows, "model.layers.%d.%s.bias", i, parts[k].name);
        }
    }
    hf_add(c, 0, 16, "model.norm.weight");
    if (!tied) hf_add(c, 24, 16, "lm_head.weight");
}
#define HF_LLAMA_MODEL                                                                                       \
    "model m = llama.causal_lm(; vocab = 24, dim = 16, depth = 2, heads = 4, kv_heads = 2, ffn = 20, theta " \
    "= 10000.0"

#endif
