/* test_plan: layouts of arenas against their definition, lower bounds and public instances
 * (CTL_TEST_DATA/packing). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "base/random.h"
#include "compiler/plan/layout.h"
#include "tests/arena_fixture.h"

static uint32_t random_word(uint32_t seed, uint32_t k) {
    uint32_t counter[4] = {k, 0, 0, 0}, out[4];
    ctl_philox(counter, seed, out);
    return out[0];
}

/* By definition: aligned, within the arena, no two that live at one time overlap. */
static void assert_valid(const ctl_layout_item *items, size_t n, size_t alignment, size_t bytes) {
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(items[i].offset % alignment, 0);
        assert_true(items[i].offset + items[i].bytes <= bytes);
        for (size_t j = 0; j < i; j++) {
            bool apart_in_time = items[i].last < items[j].first || items[j].last < items[i].first;
            bool apart = items[i].offset + items[i].bytes <= items[j].offset ||
                         items[j].offset + items[j].bytes <= items[i].offset;
            assert_true(apart_in_time || apart);
        }
    }
}

static size_t most_alive(const ctl_layout_item *items, size_t n, size_t alignment) {
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t sum = 0;
        for (size_t j = 0; j < n; j++)
            if (items[j].first <= items[i].first && items[i].first <= items[j].last)
                sum += (items[j].bytes + alignment - 1) / alignment * alignment;
        if (sum > most) most = sum;
    }
    return most;
}

static void test_nothing(void **state) {
    fixture *f = *state;
    size_t bytes = 1, bound = 1;
    assert_true(ctl_layout(&f->arena, NULL, 0, 64, &bytes, &bound));
    assert_int_equal(bytes, 0);
    assert_int_equal(bound, 0);
}

/* What training makes: saved values, born in order and dead in the reverse, and transients between. */
static void test_chain(void **state) {
    fixture *f = *state;
    for (uint32_t seed = 1; seed < 30; seed++) {
        ctl_layout_item items[400];
        int32_t layers = 50, n = 0;
        for (int32_t k = 0; k < layers; k++) {
            size_t saved = 64 * (1 + random_word(seed, (uint32_t)(3 * k)) % 40);
            items[n++] = (ctl_layout_item){saved, 2 * k, 4 * layers - 2 * k, 0};
            items[n++] = (ctl_layout_item){64 * (1 + random_word(seed, (uint32_t)(3 * k + 1)) % 90), 2 * k,
                                           2 * k + 1, 0};
            items[n++] = (ctl_layout_item){64 * (1 + random_word(seed, (uint32_t)(3 * k + 2)) % 90),
                                           4 * layers - 2 * k - 1, 4 * layers - 2 * k, 0};
        }
        size_t bytes, bound;
        assert_true(ctl_layout(&f->arena, items, (size_t)n, 64, &bytes, &bound));
        assert_valid(items, (size_t)n, 64, bytes);
        assert_int_equal(bound, most_alive(items, (size_t)n, 64));
        assert_int_equal(bytes, bound);
    }
}

static void test_random(void **state) {
    fixture *f = *state;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        ctl_layout_item items[200], again[200];
        size_t n = 1 + random_word(seed, 1000) % CTL_COUNT(items), bytes, bound, bytes2;
        for (uint32_t k = 0; k < n; k++) {
            int32_t first = (int32_t)(random_word(seed, 4 * k) % 100);
            int32_t life = (int32_t)(random_word(seed, 4 * k + 1) % (seed % 2 ? 10 : 100));
            items[k] = (ctl_layout_item){random_word(seed, 4 * k + 2) % 5000, first, first + life, 0};
        }
        memcpy(again, items, sizeof items);
        size_t alignment = seed % 3 ? 64 : 1;
        assert_true(ctl_layout(&f->arena, items, n, alignment, &bytes, &bound));
        assert_valid(items, n, alignment, bytes);
        assert_int_equal(bound, most_alive(items, n, alignment));
        assert_true(bytes >= bound);
        assert_true((double)bytes <= 1.25 * (double)bound);
        assert_true(ctl_layout(&f->arena, again, n, alignment, &bytes2, &bound));
        assert_int_equal(bytes, bytes2);
        assert_memory_equal(items, again, n * sizeof *items);
    }
}

static void test_overflow(void **state) {
    fixture *f = *state;
    ctl_layout_item items[] = {{SIZE_MAX / 2, 0, 5, 0}, {SIZE_MAX / 2, 1, 3, 0}, {64, 2, 2, 0}};
    ctl_layout_item one[] = {{SIZE_MAX - 3, 0, 0, 0}};
    ctl_layout_item backwards[] = {{64, 3, 2, 0}};
    size_t bytes, bound;
    assert_false(ctl_layout(&f->arena, items, 3, 64, &bytes, &bound));
    assert_false(ctl_layout(&f->arena, one, 1, 64, &bytes, &bound));
    assert_false(ctl_layout(&f->arena, backwards, 1, 64, &bytes, &bound));
}

static void test_many(void **state) {
    fixture *f = *state;
    const size_t n = 25000;
    ctl_layout_item *items = CTL_NEW_ARRAY(&f->arena, ctl_layout_item, n);
    for (uint32_t k = 0; k < n; k++) {
        int32_t first = (int32_t)(random_word(9, 2 * k) % 20000);
        items[k] = (ctl_layout_item){64 * (1 + random_word(9, 2 * k + 1) % 1000), first,
                                     first + (int32_t)(random_word(10, k) % (k % 50 ? 40 : 10000)), 0};
    }
    size_t bytes, bound;
    clock_t begin = clock();
    assert_true(ctl_layout(&f->arena, items, n, 64, &bytes, &bound));
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    print_message("25,000 buffers: %.2f s, %.3f of the lower bound\n", seconds,
                  (double)bytes / (double)bound);
    assert_true((double)bytes <= 1.1 * (double)bound);
}

/* id,lower,upper,size: lives are half-open. */
static bool read_instance(fixture *f, const char *folder, const char *name, ctl_layout_item **items,
                          size_t *n) {
    char path[1024], line[256];
    CTL_VEC(ctl_layout_item) all = {0};
    snprintf(path, sizeof path, "%s/packing/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    while (fgets(line, sizeof line, file)) {
        char *comma = strchr(line, ',');
        long lower, upper, size;
        char *end;
        if (!comma) continue;
        lower = strtol(comma + 1, &end, 10);
        if (end == comma + 1) continue; /* the head line */
        upper = strtol(end + 1, &end, 10);
        size = strtol(end + 1, &end, 10);
        CTL_PUSH(&f->arena, &all, (ctl_layout_item){(size_t)size, (int32_t)lower, (int32_t)upper - 1, 0});
    }
    fclose(file);
    *items = all.at, *n = all.n;
    return true;
}

static void test_instances(void **state) {
    fixture *f = *state;
    static const struct {
        const char *name;
        size_t bound;
        double most; /* of the bound */
    } known[] = {{"input.12.csv", 12, 1.0},
                 {"A.1048576.csv", 1048576, 1.0}, /* the search's few steps suffice */
                 {"C.1048576.csv", 1039360, 1.0},
                 {"K.1048576.csv", 1048576, 1.25}};
    const char *folder = getenv("CTL_TEST_DATA");
    for (size_t k = 0; k < CTL_COUNT(known); k++) {
        ctl_layout_item *items;
        size_t n, bytes, bound;
        if (!folder || !read_instance(f, folder, known[k].name, &items, &n)) {
            print_message("CTL_TEST_DATA has no packing/%s: skipped\n", known[k].name);
            skip();
        }
        assert_true(ctl_layout(&f->arena, items, n, 1, &bytes, &bound));
        assert_valid(items, n, 1, bytes);
        assert_int_equal(bound, known[k].bound);
        print_message("%s: %zu buffers, %.3f of the lower bound\n", known[k].name, n,
                      (double)bytes / (double)bound);
        assert_true((double)bytes <= known[k].most * (double)bound);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overflow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_instances, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
