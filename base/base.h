/* base: what every other part stands on. Arenas, vectors, strings, maps, checked sizes.
 *
 * A compilation owns one ctl_arena; nothing in it is freed by itself. An arena that cannot grow jumps to the place
 * that its owner set (ctl_arena.on_failure, by setjmp in the driver), so compiler code checks no allocation. Whatever
 * is not arena memory and must be released on that way out is registered with ctl_arena_defer. */
#ifndef CTL_BASE_H
#define CTL_BASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ctl/status.h"

#if defined(__GNUC__)
#define CTL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CTL_PRINTF(fmt, args)
#endif
#define CTL_COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- allocation ---- */
extern const ctl_allocator ctl_malloc_allocator;
/* NULL means malloc. */
const ctl_allocator *ctl_allocator_or_default(const ctl_allocator *a);
void *ctl_alloc(const ctl_allocator *a, size_t size); /* zeroed; NULL on failure or size 0 */
void ctl_free(const ctl_allocator *a, void *ptr, size_t size);

typedef struct ctl_arena {
    const ctl_allocator *allocator;
    struct ctl_arena_chunk *chunks;
    struct ctl_arena_deferred *deferred;
    char *at, *end;
    size_t total;        /* bytes held from the allocator */
    jmp_buf *on_failure; /* longjmp(…, CTL_ERR_MEMORY) when the allocator says no; must be set before allocating */
} ctl_arena;

void ctl_arena_init(ctl_arena *arena, const ctl_allocator *allocator, jmp_buf *on_failure);
void ctl_arena_free(ctl_arena *arena); /* runs what was deferred, latest first, then frees all chunks */
void *ctl_arena_alloc(ctl_arena *arena, size_t size); /* zeroed, 16-byte aligned, never NULL */
void *ctl_arena_array(ctl_arena *arena, size_t count, size_t size); /* checks count * size */
void ctl_arena_defer(ctl_arena *arena, void (*release)(void *), void *what);
#define CTL_NEW(arena, T)          ((T *)ctl_arena_alloc((arena), sizeof(T)))
#define CTL_NEW_ARRAY(arena, T, n) ((T *)ctl_arena_array((arena), (size_t)(n), sizeof(T)))

/* ---- strings: NUL-terminated, in an arena ---- */
char *ctl_strndup(ctl_arena *arena, const char *text, size_t n);
char *ctl_format(ctl_arena *arena, const char *fmt, ...) CTL_PRINTF(2, 3);
char *ctl_vformat(ctl_arena *arena, const char *fmt, va_list args);
/* "12.3 MiB". */
char *ctl_format_bytes(ctl_arena *arena, int64_t bytes);
/* A growing text. Zero-initialise with .arena set. */
typedef struct ctl_text {
    ctl_arena *arena;
    char *at;
    size_t n, cap;
} ctl_text;
void ctl_text_add(ctl_text *text, const char *fmt, ...) CTL_PRINTF(2, 3);
void ctl_text_put(ctl_text *text, const char *bytes, size_t n);
/* Edit distance with transpositions, for "did you mean"; gives up above limit. */
int ctl_edit_distance(const char *a, const char *b, int limit);

/* ---- vectors in an arena ---- */
#define CTL_VEC(T)                                                                                           \
    struct {                                                                                                 \
        T *at;                                                                                               \
        size_t n, cap;                                                                                       \
    }
void ctl_vec_grow(ctl_arena *arena, void **at, size_t n, size_t *cap, size_t size);
#define CTL_PUSH(arena, vec, ...)                                                                            \
    do {                                                                                                     \
        if ((vec)->n == (vec)->cap) {                                                                        \
            void *ctl_vec_at_ = (vec)->at;                                                                   \
            ctl_vec_grow((arena), &ctl_vec_at_, (vec)->n, &(vec)->cap, sizeof *(vec)->at);                   \
            (vec)->at = ctl_vec_at_;                                                                         \
        }                                                                                                    \
        (vec)->at[(vec)->n++] = (__VA_ARGS__);                                                               \
    } while (0)

/* ---- maps from strings and from byte keys to pointers, in an arena ---- */
typedef struct ctl_map {
    ctl_arena *arena;
    struct ctl_map_slot *slots;
    size_t n, cap;
} ctl_map;
void *ctl_map_get(const ctl_map *map, const char *key);             /* NULL when absent */
void ctl_map_put(ctl_map *map, const char *key, void *value);       /* replaces; the key is kept, not copied */
void *ctl_map_get_bytes(const ctl_map *map, const void *key, size_t n);
void ctl_map_put_bytes(ctl_map *map, const void *key, size_t n, void *value); /* the key is copied */
uint64_t ctl_hash(const void *bytes, size_t n, uint64_t seed);

/* ---- checked sizes ---- */
static inline bool ctl_mul_size(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}
static inline bool ctl_add_size(size_t a, size_t b, size_t *out) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}
static inline bool ctl_mul_i64(int64_t a, int64_t b, int64_t *out) { /* for values that are not negative */
    if (a < 0 || b < 0 || (b != 0 && a > INT64_MAX / b)) return false;
    *out = a * b;
    return true;
}

#endif
