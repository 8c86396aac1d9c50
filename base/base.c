/* base: arenas, vectors, strings and maps. See base.h. */
#include "base/base.h"
#include "base/dtype.h"

#include <stdio.h>
#include <stdlib.h>

const char *ctl_status_name(ctl_status status) {
    switch (status) {
    case CTL_OK: return "ok";
    case CTL_ERR_MEMORY: return "out of host memory";
    case CTL_ERR_INPUT: return "bad input";
    case CTL_ERR_IO: return "input or output failed";
    case CTL_ERR_UNSUPPORTED: return "not supported here";
    case CTL_ERR_BUDGET: return "does not fit the memory";
    case CTL_ERR_NUMERIC: return "not finite";
    case CTL_INTERRUPTED: return "interrupted";
    case CTL_ERR_INTERNAL: return "internal error";
    }
    return "unknown status";
}

/* ---- allocation ---- */
static void *malloc_resize(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx, (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}
const ctl_allocator ctl_malloc_allocator = {NULL, malloc_resize};

const ctl_allocator *ctl_allocator_or_default(const ctl_allocator *a) { return a ? a : &ctl_malloc_allocator; }

void *ctl_alloc(const ctl_allocator *a, size_t size) {
    if (size == 0) return NULL;
    void *p = a->resize(a->ctx, NULL, 0, size);
    if (p) memset(p, 0, size);
    return p;
}

void ctl_free(const ctl_allocator *a, void *ptr, size_t size) {
    if (ptr) a->resize(a->ctx, ptr, size, 0);
}

typedef struct ctl_arena_chunk {
    struct ctl_arena_chunk *next;
    size_t size;
} ctl_arena_chunk;
typedef struct ctl_arena_deferred {
    struct ctl_arena_deferred *next;
    void (*release)(void *);
    void *what;
} ctl_arena_deferred;

enum { ARENA_ALIGN = 16, ARENA_CHUNK = 1 << 16 };

void ctl_arena_init(ctl_arena *arena, const ctl_allocator *allocator, jmp_buf *on_failure) {
    *arena = (ctl_arena){.allocator = ctl_allocator_or_default(allocator), .on_failure = on_failure};
}

void ctl_arena_free(ctl_arena *arena) {
    for (ctl_arena_deferred *d = arena->deferred; d; d = d->next) d->release(d->what);
    for (ctl_arena_chunk *c = arena->chunks, *next; c; c = next) {
        next = c->next;
        ctl_free(arena->allocator, c, c->size);
    }
    *arena = (ctl_arena){.allocator = arena->allocator, .on_failure = arena->on_failure};
}

static _Noreturn void arena_fail(ctl_arena *arena) { longjmp(*arena->on_failure, CTL_ERR_MEMORY); }

void *ctl_arena_alloc(ctl_arena *arena, size_t size) {
    if (size > SIZE_MAX / 2) arena_fail(arena);
    size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if ((size_t)(arena->end - arena->at) < size) {
        size_t head = (sizeof(ctl_arena_chunk) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
        size_t want = size + head > ARENA_CHUNK ? size + head : ARENA_CHUNK;
        const ctl_allocator *a = arena->allocator;
        ctl_arena_chunk *chunk = a->resize(a->ctx, NULL, 0, want);
        if (!chunk) arena_fail(arena);
        *chunk = (ctl_arena_chunk){arena->chunks, want};
        arena->chunks = chunk;
        arena->total += want;
        char *at = (char *)chunk + head, *end = (char *)chunk + want;
        /* A chunk made for one large thing does not replace the one in use, which has more room left. */
        if (end - at - (ptrdiff_t)size < arena->end - arena->at) return memset(at, 0, size);
        arena->at = at, arena->end = end;
    }
    void *p = arena->at;
    arena->at += size;
    return size ? memset(p, 0, size) : p;
}

void *ctl_arena_array(ctl_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (!ctl_mul_size(count, size, &bytes)) arena_fail(arena);
    return ctl_arena_alloc(arena, bytes ? bytes : 1);
}

void ctl_arena_defer(ctl_arena *arena, void (*release)(void *), void *what) {
    ctl_arena_deferred *d = CTL_NEW(arena, ctl_arena_deferred);
    *d = (ctl_arena_deferred){arena->deferred, release, what};
    arena->deferred = d;
}

/* ---- strings ---- */
char *ctl_strndup(ctl_arena *arena, const char *text, size_t n) {
    char *copy = ctl_arena_alloc(arena, n + 1);
    if (n) memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

char *ctl_vformat(ctl_arena *arena, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *out = ctl_arena_alloc(arena, (size_t)(n < 0 ? 0 : n) + 1);
    if (n >= 0) vsnprintf(out, (size_t)n + 1, fmt, again);
    va_end(again);
    return out;
}

char *ctl_format(ctl_arena *arena, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    char *out = ctl_vformat(arena, fmt, args);
    va_end(args);
    return out;
}

char *ctl_format_bytes(ctl_arena *arena, int64_t bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t unit = 0;
    while (n >= 1024 && unit + 1 < CTL_COUNT(units)) n /= 1024, unit++;
    return unit ? ctl_format(arena, "%.2f %s", n, units[unit]) : ctl_format(arena, "%lld bytes", (long long)bytes);
}

void ctl_text_put(ctl_text *text, const char *bytes, size_t n) {
    if (text->cap - text->n < n + 1) {
        size_t cap = (text->cap + n + 64) * 2;
        char *at = ctl_arena_alloc(text->arena, cap);
        if (text->n) memcpy(at, text->at, text->n);
        text->at = at, text->cap = cap;
    }
    if (n) memcpy(text->at + text->n, bytes, n);
    text->n += n;
    text->at[text->n] = 0;
}

void ctl_text_add(ctl_text *text, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0) {
        char small[256], *buf = small;
        if ((size_t)n >= sizeof small) buf = ctl_arena_alloc(text->arena, (size_t)n + 1);
        vsnprintf(buf, (size_t)n + 1, fmt, again);
        ctl_text_put(text, buf, (size_t)n);
    }
    va_end(again);
}

int ctl_edit_distance(const char *a, const char *b, int limit) {
    enum { MOST = 63 };
    size_t long_a = strlen(a), long_b = strlen(b);
    if (long_a > MOST || long_b > MOST) return limit + 1;
    int na = (int)long_a, nb = (int)long_b;
    if (na - nb > limit || nb - na > limit) return limit + 1;
    int row[3][MOST + 2];
    for (int j = 0; j <= nb; j++) row[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best) best = up[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

/* ---- vectors ---- */
void ctl_vec_grow(ctl_arena *arena, void **at, size_t n, size_t *cap, size_t size) {
    size_t more = *cap ? *cap * 2 : 8;
    void *bigger = ctl_arena_array(arena, more, size);
    if (n) memcpy(bigger, *at, n * size);
    *at = bigger, *cap = more;
}

/* ---- maps: open addressing, linear probing, at most two thirds full ---- */
typedef struct ctl_map_slot {
    const void *key;
    size_t n;
    uint64_t hash;
    void *value;
} ctl_map_slot;

uint64_t ctl_hash(const void *bytes, size_t n, uint64_t seed) { /* FNV-1a with a final mix */
    uint64_t h = 1469598103934665603u ^ seed;
    for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

static ctl_map_slot *map_slot(const ctl_map *map, const void *key, size_t n, uint64_t hash) {
    for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        ctl_map_slot *s = &map->slots[i];
        if (!s->key || (s->hash == hash && s->n == n && memcmp(s->key, key, n) == 0)) return s;
    }
}

void *ctl_map_get_bytes(const ctl_map *map, const void *key, size_t n) {
    if (map->n == 0) return NULL;
    ctl_map_slot *s = map_slot(map, key, n, ctl_hash(key, n, 0));
    return s->key ? s->value : NULL;
}

static void map_put(ctl_map *map, const void *key, size_t n, void *value) {
    if (3 * (map->n + 1) > 2 * map->cap) {
        ctl_map bigger = {map->arena, NULL, map->n, map->cap ? map->cap * 2 : 16};
        bigger.slots = CTL_NEW_ARRAY(map->arena, ctl_map_slot, bigger.cap);
        for (size_t i = 0; i < map->cap; i++)
            if (map->slots[i].key)
                *map_slot(&bigger, map->slots[i].key, map->slots[i].n, map->slots[i].hash) = map->slots[i];
        *map = bigger;
    }
    uint64_t hash = ctl_hash(key, n, 0);
    ctl_map_slot *s = map_slot(map, key, n, hash);
    if (!s->key) map->n++;
    *s = (ctl_map_slot){key, n, hash, value};
}

void ctl_map_put_bytes(ctl_map *map, const void *key, size_t n, void *value) {
    void *copy = ctl_arena_alloc(map->arena, n ? n : 1);
    if (n) memcpy(copy, key, n);
    map_put(map, copy, n, value);
}

void *ctl_map_get(const ctl_map *map, const char *key) { return ctl_map_get_bytes(map, key, strlen(key)); }
void ctl_map_put(ctl_map *map, const char *key, void *value) { map_put(map, key, strlen(key), value); }

/* ---- element types ---- */
size_t ctl_dtype_size(ctl_dtype dtype) {
    switch (dtype) {
    case CTL_F64: return 8;
    case CTL_REAL:
    case CTL_F32:
    case CTL_I32: return 4;
    case CTL_BF16:
    case CTL_F16: return 2;
    case CTL_U8: return 1;
    }
    return 0;
}

const char *ctl_dtype_name(ctl_dtype dtype) {
    static const char *const names[] = {"real", "f64", "f32", "bf16", "f16", "i32", "u8"};
    return (size_t)dtype < CTL_COUNT(names) ? names[dtype] : "?";
}

const char *ctl_compute_hint(const char *word) {
    static const struct {
        const char *word, *hint;
    } hints[] = {
#define HALF "use bf16: f16 ends at 65504, so its gradients need loss scaling, which there is not; bf16 reaches as far as f32"
        {"f16", HALF},
        {"fp16", HALF},
        {"float16", HALF},
        {"half", HALF},
#undef HALF
        {"bfloat16", "use bf16"},
        {"fp32", "use f32"},
        {"float32", "use f32"},
        {"float", "use f32"},
        {"fp64", "use f64"},
        {"float64", "use f64"},
        {"double", "use f64"},
    };
    for (size_t k = 0; k < CTL_COUNT(hints); k++)
        if (strcmp(word, hints[k].word) == 0) return hints[k].hint;
    return NULL;
}
