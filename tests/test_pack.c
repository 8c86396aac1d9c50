/* test_pack: packings against their definition and against trying everything; public instances
 * (CTL_TEST_DATA/packing) at their bounds; the table reader; ctlc pack. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/random.h"
#include "compiler/plan/lifetimes.h"
#include "tests/arena_fixture.h"
#include "tests/block_lives.h"
#include "tests/command.h"

static uint32_t random_word(uint32_t seed, uint32_t k) {
    uint32_t counter[4] = {k, 0, 0, 0}, out[4];
    ctl_philox(counter, seed, out);
    return out[0];
}

/* By definition, and by nothing that the packer shares. */
static void assert_packed(const ctl_layout_item *items, size_t n, size_t height) {
    size_t top = 0;
    for (size_t i = 0; i < n; i++) {
        if (items[i].offset + items[i].bytes > top) top = items[i].offset + items[i].bytes;
        for (size_t j = 0; j < i; j++) {
            if (items[i].last < items[j].first || items[j].last < items[i].first) continue;
            if (items[i].offset < items[j].offset + items[j].bytes &&
                items[j].offset < items[i].offset + items[i].bytes)
                fail_msg("buffers %zu and %zu overlap", i, j);
        }
    }
    assert_int_equal(top, height);
}

/* The least height by trying every order, each item on top of those before it that live with it: a packing
 * that cannot be pushed down any more is one of these. */
static size_t least_height(const ctl_layout_item *items, size_t n, size_t *offset, unsigned done, size_t top,
                           size_t best) {
    if (top >= best) return best;
    if (done == (1u << n) - 1) return top;
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        if (done >> i & 1) continue;
        for (size_t j = 0; j < n; j++)
            if (done >> j & 1 && items[i].first <= items[j].last && items[j].first <= items[i].last &&
                offset[j] + items[j].bytes > at)
                at = offset[j] + items[j].bytes;
        offset[i] = at;
        size_t now = at + items[i].bytes > top ? at + items[i].bytes : top;
        best = least_height(items, n, offset, done | 1u << i, now, best);
    }
    return best;
}

/* Always as much alive: pairs of buffers end together and others of the same sum begin. Heuristics leave
 * gaps in some of these. */
static void test_least(void **state) {
    fixture *f = *state;
    enum { PIECES = 10, INSTANCES = 300 };
    size_t searched = 0;
    for (uint32_t seed = 1; seed <= INSTANCES; seed++) {
        ctl_layout_item items[PIECES] = {{0}};
        size_t offset[PIECES], n = 0, height, bound, alive = 0;
        uint64_t steps;
        for (; n < 4; n++) {
            items[n] = (ctl_layout_item){2 + random_word(seed, (uint32_t)n) % 5, 0, 9, 0};
            alive += items[n].bytes;
        }
        for (uint32_t t = 1; n < PIECES; t++) {
            size_t a, b;
            for (a = random_word(seed, 10 * t) % n; items[a].last < 9;) a = (a + 1) % n;
            for (b = random_word(seed, 10 * t + 1) % n; b == a || items[b].last < 9;) b = (b + 1) % n;
            size_t sum = items[a].bytes + items[b].bytes,
                   part = 1 + random_word(seed, 10 * t + 2) % (sum - 1);
            items[a].last = items[b].last = (int32_t)t - 1;
            items[n++] = (ctl_layout_item){part, (int32_t)t, 9, 0};
            items[n++] = (ctl_layout_item){sum - part, (int32_t)t, 9, 0};
        }
        size_t least = least_height(items, n, offset, 0, 0, SIZE_MAX);
        assert_true(least >= alive);
        assert_true(ctl_layout_search(&f->arena, items, n, 1, &(ctl_pack_options){.steps = 1000000}, &height,
                                      &bound, &steps));
        assert_packed(items, n, height);
        assert_int_equal(height, least);
        assert_int_equal(bound, least);
        searched += steps > 0;
    }
    print_message("%zu of %d were searched for\n", searched, INSTANCES);
    assert_true(searched >= 1);
}

/* Instances that have a packing without gaps: a full arena cut into pieces, in time and in space. */
static void test_full(void **state) {
    fixture *f = *state;
    size_t solved = 0;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        enum { PIECES = 60, HEIGHT = 4096, TIME = 64 };
        ctl_layout_item items[PIECES] = {{HEIGHT, 0, TIME - 1, 0}};
        size_t n = 1, height, bound;
        uint64_t steps;
        for (uint32_t k = 0; n < PIECES; k++) {
            ctl_layout_item *it = &items[random_word(seed, 3 * k) % n];
            uint32_t share = 1 + random_word(seed, 3 * k + 1) % 7;
            if (random_word(seed, 3 * k + 2) % 2) {
                size_t low = it->bytes * share / 8;
                if (low == 0 || low == it->bytes) continue;
                items[n++] = (ctl_layout_item){it->bytes - low, it->first, it->last, 0}, it->bytes = low;
            } else {
                int32_t early = (it->last - it->first + 1) * (int32_t)share / 8;
                if (early == 0) continue;
                items[n++] = (ctl_layout_item){it->bytes, it->first + early, it->last, 0};
                it->last = it->first + early - 1;
            }
        }
        assert_true(ctl_layout_search(&f->arena, items, n, 1, &(ctl_pack_options){.steps = 300000}, &height,
                                      &bound, &steps));
        assert_packed(items, n, height);
        assert_int_equal(bound, HEIGHT);
        solved += height == bound;
    }
    print_message("%zu of 20 full arenas are packed without a gap\n", solved);
    assert_true(solved >= 18);
}

static void test_same(void **state) {
    fixture *f = *state;
    ctl_layout_item items[300], again[300];
    size_t height, bound, height2;
    uint64_t steps, steps2;
    for (uint32_t k = 0; k < 300; k++) {
        int32_t first = (int32_t)(random_word(5, 3 * k) % 200);
        items[k] = (ctl_layout_item){random_word(5, 3 * k + 1) % 5000, first,
                                     first + (int32_t)(random_word(5, 3 * k + 2) % 30), 0};
    }
    memcpy(again, items, sizeof items);
    const ctl_pack_options options = {.steps = 200000};
    assert_true(ctl_layout_search(&f->arena, items, 300, 16, &options, &height, &bound, &steps));
    assert_true(ctl_layout_search(&f->arena, again, 300, 16, &options, &height2, &bound, &steps2));
    for (uint32_t k = 0; k < 300; k++) {
        assert_int_equal(items[k].offset % 16, 0);
        items[k].bytes = (items[k].bytes + 15) / 16 * 16;
    }
    assert_packed(items, 300, height);
    assert_int_equal(height, height2);
    assert_int_equal(steps, steps2);
    for (uint32_t k = 0; k < 300; k++) assert_int_equal(items[k].offset, again[k].offset);
}

/* A network of 1000 blocks: 25,000 buffers, at the bound, within a second. */
static void test_blocks(void **state) {
    fixture *f = *state;
    const int32_t blocks = 1000;
    const size_t n = (size_t)blocks * BLOCK_BUFFERS;
    ctl_layout_item *items = CTL_NEW_ARRAY(&f->arena, ctl_layout_item, n);
    for (int alike = 0; alike < 2; alike++) {
        size_t height, bound;
        block_lives(items, blocks, alike);
        clock_t begin = clock();
        assert_true(ctl_layout(&f->arena, items, n, CTL_LAYOUT_ALIGN, &height, &bound));
        double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        print_message("%zu buffers: %.2f s, height / bound %.5f\n", n, seconds,
                      (double)height / (double)bound);
        assert_packed(items, n, height);
        assert_true((double)height <= 1.001 * (double)bound);
    }
}

static bool read_table(fixture *f, const char *path, ctl_lifetimes *table) {
    FILE *file = fopen(path, "rb");
    char *text = ctl_arena_alloc(&f->arena, 1 << 16);
    ctl_lifetimes_error error;
    if (!file) return false;
    size_t n = fread(text, 1, (1 << 16) - 1, file);
    fclose(file);
    assert_true(ctl_lifetimes_read(&f->arena, text, n, table, &error));
    return true;
}

static void test_instances(void **state) {
    fixture *f = *state;
    static const struct {
        const char *name;
        size_t least;
    } known[] = {{"input.12.csv", 12},
                 {"A.1048576.csv", 1048576},
                 {"C.1048576.csv", 1039360},
                 {"K.1048576.csv", 1048576}};
    const char *data = getenv("CTL_TEST_DATA");
    for (size_t k = 0; k < CTL_COUNT(known); k++) {
        char path[1024];
        ctl_lifetimes table;
        size_t height, bound;
        uint64_t steps;
        snprintf(path, sizeof path, "%s/packing/%s", data ? data : "", known[k].name);
        if (!data || !read_table(f, path, &table)) {
            print_message("CTL_TEST_DATA has no packing/%s: skipped\n", known[k].name);
            skip();
        }
        clock_t begin = clock();
        const ctl_pack_options options = {.steps = 5000000};
        assert_true(ctl_layout_search(&f->arena, table.items, table.n, 1, &options, &height, &bound, &steps));
        double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        print_message("%s: %zu buffers, height %zu, %llu steps, %.2f s\n", known[k].name, table.n, height,
                      (unsigned long long)steps, seconds);
        assert_packed(table.items, table.n, height);
        assert_int_equal(height, known[k].least);
        assert_int_equal(bound, known[k].least);
    }
}

/* ---- the table ---- */
static void test_errors(void **state) {
    fixture *f = *state;
    static const struct {
        const char *text;
        size_t line, column;
        const char *what;
    } wrong[] = {
        {"", 0, 0, "it is empty: the first line is to be id,lower,upper,size"},
        {"id,lower,size\n", 1, 1,
         "there is no column \"upper\": the first line is to be id,lower,upper,size"},
        {"id,lower,lower,upper,size\n", 1, 10, "the column \"lower\" stands there twice"},
        {"id,lower,upper,size\na,0,3\n", 2, 6, "the line ends before its \"size\""},
        {"id,lower,upper,size\na,0,3,\n", 2, 7, "\"size\" is missing"},
        {"id,lower,upper,size\na,0,3,1\nb,0,x3,1\n", 3, 5,
         "\"upper\" is to be a whole number that is not negative, not \"x3\""},
        {"id,lower,upper,size\na,0,3,-1\n", 2, 7,
         "\"size\" is to be a whole number that is not negative, not \"-1\""},
        {"id,lower,upper,size\na,4,4,1\n", 2, 5,
         "\"upper\" is to be above \"lower\", which is 4: lives are half-open"},
        {"id,lower,upper,size\na,0,2147483648,1\n", 2, 5, "\"upper\" is above 2147483647"},
        {"id,lower,upper,size\na,0,1,18446744073709551616\n", 2, 7, "\"size\" is above 9223372036854775807"},
        {"id,lower,upper,size\na,0,1,9223372036854775807\nb,0,1,9223372036854775807\nc,5,6,2\n", 4, 1,
         "up to here the sizes add up to more than can be counted"},
    };
    for (size_t k = 0; k < CTL_COUNT(wrong); k++) {
        ctl_lifetimes table;
        ctl_lifetimes_error error;
        assert_false(ctl_lifetimes_read(&f->arena, wrong[k].text, strlen(wrong[k].text), &table, &error));
        assert_string_equal(error.what, wrong[k].what);
        assert_int_equal(error.line, wrong[k].line);
        assert_int_equal(error.column, wrong[k].column);
    }
    ctl_lifetimes table;
    ctl_lifetimes_error error;
    assert_false(ctl_lifetimes_read(&f->arena, "id\0", 3, &table, &error));
    assert_string_equal(error.what, "it is no text: it has zero bytes");
}

static void test_table(void **state) {
    fixture *f = *state;
    static const char text[] =
        "size, name ,upper,lower,id\r\n 12,x, 7 ,0,a\r\n\n8,y,9,7,b"; /* no end of line */
    ctl_lifetimes table;
    ctl_lifetimes_error error;
    assert_true(ctl_lifetimes_read(&f->arena, text, sizeof text - 1, &table, &error));
    assert_int_equal(table.n, 2);
    assert_int_equal(table.items[0].bytes, 12);
    assert_int_equal(table.items[0].first, 0);
    assert_int_equal(table.items[0].last, 6);
    assert_int_equal(table.items[1].first, 7);
    assert_int_equal(table.items[1].last, 8);
    table.items[1].offset = 5;
    ctl_text out = {.arena = &f->arena};
    ctl_lifetimes_write(&table, &out);
    assert_string_equal(out.at, "size, name ,upper,lower,id,offset\n 12,x, 7 ,0,a,0\n8,y,9,7,b,5\n");
}

static void *no_more(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    size_t *left = ctx;
    if (new_size > old_size && new_size - old_size > *left) return NULL;
    void *p = ctl_malloc_allocator.resize(NULL, ptr, old_size, new_size);
    if (p || !new_size) *left -= new_size - old_size;
    return p;
}

/* True when the packing was made, false when memory ended on the way. */
static bool pack_within(size_t room) {
    size_t left = room, height, bound;
    const ctl_allocator allocator = {&left, no_more};
    ctl_layout_item items[200];
    uint64_t steps;
    jmp_buf failure;
    ctl_arena arena;
    for (uint32_t k = 0; k < 200; k++) {
        int32_t first = (int32_t)(random_word(6, 2 * k) % 300);
        items[k] = (ctl_layout_item){random_word(6, 2 * k + 1) % 5000, first, first + (int32_t)(k % 60), 0};
    }
    ctl_arena_init(&arena, &allocator, &failure);
    if (setjmp(failure)) {
        ctl_arena_free(&arena);
        assert_int_equal(left, room);
        return false;
    }
    const ctl_pack_options options = {.steps = 5000};
    assert_true(ctl_layout_search(&arena, items, 200, 1, &options, &height, &bound, &steps));
    ctl_arena_free(&arena);
    assert_int_equal(left, room);
    return true;
}

/* Wherever memory ends, the packer comes back through the arena's owner, and all is given back. */
static void test_no_memory(void **state) {
    (void)state;
    size_t room = 1000;
    while (!pack_within(room)) {
        room += 20000;
        assert_true(room < 100000000);
    }
    assert_true(room > 1000);
}

/* ---- the command ---- */
static const char TOY[] = "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n";

static void test_command(void **state) {
    (void)state;
    write_file("toy.csv", TOY);
    assert_int_equal(ctlc("pack toy.csv --out placed.csv"), 0);
    says("5 buffers, ");
    says("height 12\nbound 12\ntime ");
    says("no packing is lower\n");
    const char *placed = text_of("placed.csv");
    assert_memory_equal(placed, "id,lower,upper,size,offset\nb1,0,3,4,", 36);
    assert_int_equal(ctlc("pack toy.csv --capacity 12"), 0);
    assert_int_equal(ctlc("pack toy.csv --capacity 11 --out none.csv"), 5);
    says("ctlc pack: toy.csv: 11 is not reached; no packing is so low\n");
    write_file("bad.csv", "id,lower,upper,size\nb1,0,3,4\nb2,3,,4\n");
    assert_int_equal(ctlc("pack bad.csv"), 1);
    says("ctlc pack: bad.csv:3:6: \"upper\" is missing\n");
    assert_int_equal(ctlc("pack nowhere.csv"), 4);
    says("nowhere.csv");
    assert_int_equal(ctlc("pack toy.csv --out nowhere/placed.csv"), 4);
    write_file("none.csv", "id,lower,upper,size\n");
    assert_int_equal(ctlc("pack none.csv"), 0);
    says("height 0\nbound 0\n");
    assert_int_equal(ctlc("pack --help"), 0);
    says("Examples\n  ctlc pack lives.csv\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_least, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_table, setup, teardown),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_command),
        cmocka_unit_test_setup_teardown(test_instances, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
