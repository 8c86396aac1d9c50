/* Images and their classes: the order of patches against a formula of its own, every element type, normalisation, held-out
 * parts and places; what files that are wrong say; and that no file, however damaged, is believed or crashes the reader. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "base/random.h"
#include "tests/folder.h"
#include "tests/heard.h"
#include "tests/meter.h"
#include "tests/npy_file.h"
#include "train/images.h"

enum { N = 5, C = 3, H = 4, W = 6, P = 2, ROWS = (H / P) * (W / P), COLUMNS = C * P * P };

static const char *path_of(const char *name) {
    static char path[4][128];
    static int next;
    char *at = path[next++ % 4];
    snprintf(at, sizeof path[0], "%s/%s", folder, name);
    return at;
}
static const char *write_text(const char *name, const char *text) {
    const char *path = path_of(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* Pixel (image, channel, row, column), small enough for every type. */
static double pixel(int i, int c, int y, int x) { return (i * 7 + c * 50 + y * 11 + x * 3) % 200; }

static const char *images_of(const char *type) {
    static union {
        float f[N * C * H * W];
        double d[N * C * H * W];
        uint16_t h[N * C * H * W];
        uint8_t b[N * C * H * W];
    } data;
    size_t at = 0;
    for (int i = 0; i < N; i++)
        for (int c = 0; c < C; c++)
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++, at++) {
                    const double v = pixel(i, c, y, x);
                    if (strcmp(type, "<f4") == 0) data.f[at] = (float)v;
                    else if (strcmp(type, "<f8") == 0) data.d[at] = v;
                    else if (strcmp(type, "|u1") == 0) data.b[at] = (uint8_t)v;
                    else { /* a whole number below 256 as a half: 1.xxxxxxx times a power of two */
                        int e;
                        const double m = frexp(v, &e);
                        data.h[at] = v == 0 ? 0 : (uint16_t)((e - 1 + 15) << 10 | (int)((2 * m - 1) * 1024));
                    }
                }
    char header[200];
    const size_t size = (size_t)(type[2] - '0');
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }   \n", type, N, C, H, W);
    const char *path = path_of("images.npy");
    write_npy(path, header, &data, at * size);
    return path;
}

static ctl_status open_images(ctl_images *m, const char *path, const char *labels, const ctl_normalisation *z, heard *h) {
    *h = (heard){0};
    return ctl_images_open(m, path, labels, ROWS, COLUMNS, z, NULL, (ctl_voice){hear, h});
}
static const char *five_labels(void) { return write_text("labels.txt", "0\n1\n2\n0\n1\n"); }

static void check_image(const float *rows, int i, double scale, const ctl_normalisation *z) {
    for (int r = 0; r < H / P; r++)
        for (int s = 0; s < W / P; s++)
            for (int c = 0; c < C; c++)
                for (int y = 0; y < P; y++)
                    for (int x = 0; x < P; x++) {
                        double want = pixel(i, c, r * P + y, s * P + x) * scale;
                        if (z) want = (want - z->mean[z->n > 1 ? c : 0]) / z->std[z->n > 1 ? c : 0];
                        const float found = rows[(r * (W / P) + s) * COLUMNS + (c * P + y) * P + x];
                        if (!(fabs(found - want) <= 1e-6 * fabs(want) + 1e-6))
                            fail_msg("image %d, patch %d %d, channel %d, %d %d: %g, not %g", i, r, s, c, y, x, found, want);
                    }
}

static void test_patches(void **state) {
    (void)state;
    static const char *const types[] = {"<f4", "<f2", "<f8", "|u1"};
    const ctl_normalisation one = {1, {0.5}, {0.25}}, each = {3, {1, 2, 3}, {0.5, 4, 2}};
    const ctl_normalisation *const all[] = {NULL, &one, &each};
    for (size_t k = 0; k < CTL_COUNT(types); k++) {
        for (size_t j = 0; j < CTL_COUNT(all); j++) {
            ctl_images m;
            heard h;
            ctl_loader *l;
            ctl_batch b;
            assert_int_equal(open_images(&m, images_of(types[k]), five_labels(), all[j], &h), CTL_OK);
            const ctl_packing packing = {.rows = 2 * ROWS, .sequence = ROWS};
            assert_int_equal(ctl_loader_open_images(&m, &packing, NULL, (ctl_voice){0}, &l), CTL_OK);
            assert_int_equal(ctl_batch_open_for(&b, l, NULL), CTL_OK);
            int seen = 0;
            while (ctl_loader_next_in_epoch(l, &b)) {
                for (int s = 0; s < 2; s++, seen++) {
                    assert_int_equal(b.classes[s], seen < N ? seen % 3 : -100);
                    if (seen < N) check_image(b.pixels + s * ROWS * COLUMNS, seen, k == 3 ? 1 / 255.0 : 1, all[j]);
                    for (int t = 0; t < ROWS; t++) {
                        assert_int_equal(b.position[s * ROWS + t], t);
                        assert_int_equal(b.length[s * ROWS + t], ROWS);
                    }
                }
                assert_int_equal(b.counted, seen <= N ? 2 : 1);
            }
            assert_int_equal(seen, 6);
            ctl_batch_close(&b, NULL);
            ctl_loader_close(l);
            ctl_images_close(&m);
        }
    }
}

/* Patches that are laid out already are taken as they are; channels are equal parts of a patch's columns. */
static void test_rows(void **state) {
    (void)state;
    static float data[N * ROWS * COLUMNS];
    for (size_t i = 0; i < CTL_COUNT(data); i++) data[i] = (float)i;
    char header[200];
    snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d, %d)}", N, ROWS, COLUMNS);
    const char *path = path_of("rows.npy");
    write_npy(path, header, data, sizeof data);
    ctl_images m;
    heard h;
    ctl_loader *l;
    ctl_batch b;
    const ctl_normalisation z = {3, {0, 1, 2}, {1, 2, 4}};
    assert_int_equal(open_images(&m, path, five_labels(), &z, &h), CTL_OK);
    assert_int_equal(ctl_loader_open_images(&m, &(ctl_packing){.rows = ROWS, .sequence = ROWS}, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_int_equal(ctl_batch_open_for(&b, l, NULL), CTL_OK);
    assert_true(ctl_loader_next_in_epoch(l, &b));
    for (int t = 0; t < ROWS; t++)
        for (int k = 0; k < COLUMNS; k++) {
            const int c = k / (COLUMNS / 3);
            assert_true(b.pixels[t * COLUMNS + k] == (float)((t * COLUMNS + k - c) / (double)(1 << c)));
        }
    ctl_batch_close(&b, NULL);
    ctl_loader_close(l);
    ctl_images_close(&m);
}

static void test_split_and_order(void **state) {
    (void)state;
    ctl_images m, held;
    heard h;
    assert_int_equal(open_images(&m, images_of("|u1"), five_labels(), NULL, &h), CTL_OK);
    const uint64_t before = ctl_images_fingerprint(&m);
    assert_int_equal(ctl_images_split(&m, 0.3, 7, &held), CTL_OK);
    assert_int_equal(m.n, 3);
    assert_int_equal(held.n, 2);
    assert_true(ctl_images_fingerprint(&m) != before && ctl_images_fingerprint(&held) != ctl_images_fingerprint(&m));
    bool seen[N] = {false};
    for (size_t i = 0; i < 3; i++) seen[m.index[i]] = true;
    for (size_t i = 0; i < 2; i++) assert_false(seen[held.index[i]]);
    const ctl_packing packing = {.rows = 2 * ROWS, .sequence = ROWS, .shuffle = true, .seed = 3};
    ctl_loader *l, *again;
    ctl_batch b, r;
    assert_int_equal(ctl_loader_open_images(&m, &packing, NULL, (ctl_voice){0}, &l), CTL_OK);
    assert_int_equal(ctl_loader_open_images(&m, &packing, NULL, (ctl_voice){0}, &again), CTL_OK);
    assert_int_equal(ctl_batch_open_for(&b, l, NULL), CTL_OK);
    assert_int_equal(ctl_batch_open_for(&r, l, NULL), CTL_OK);
    int count[3] = {0};
    for (int i = 0; i < 6; i++) { /* four epochs of three images; a loader sent to the place gives the same batch */
        assert_int_equal(ctl_loader_go(again, ctl_loader_place(l)), CTL_OK);
        ctl_loader_next(l, &b);
        ctl_loader_next(again, &r);
        assert_memory_equal(b.pixels, r.pixels, 2 * ROWS * COLUMNS * sizeof(float));
        assert_memory_equal(b.classes, r.classes, 2 * sizeof(int32_t));
        for (int s = 0; s < 2; s++) {
            count[b.document[s * ROWS]]++;
            check_image(b.pixels + s * ROWS * COLUMNS, (int)m.index[b.document[s * ROWS]], 1 / 255.0, NULL);
        }
    }
    for (int i = 0; i < 3; i++) assert_int_equal(count[i], 4);
    ctl_batch_close(&b, NULL);
    ctl_batch_close(&r, NULL);
    ctl_loader_close(l);
    ctl_loader_close(again);
    ctl_images_close(&held);
    ctl_images_close(&m);
}

/* ---- labels ---- */
static void test_labels(void **state) {
    (void)state;
    static const int32_t want[] = {2, 0, 13};
    const int64_t wide[] = {2, 0, 13};
    const uint8_t narrow[] = {2, 0, 13};
    const int8_t negative[] = {2, -1};
    const char *arrays[] = {path_of("wide.npy"), path_of("narrow.npy")};
    write_npy(arrays[0], "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }\n", wide, sizeof wide);
    write_npy(arrays[1], "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 1), }\n", narrow, sizeof narrow);
    const char *const files[] = {arrays[0], arrays[1], write_text("a.txt", "2\n0\n\n13"),
                                 write_text("b.csv", "name,label\r\n\"x, y\", 2 \r\nz,0\r\nw,13\r\n")};
    for (size_t i = 0; i < CTL_COUNT(files); i++) {
        heard h = {0};
        int32_t *labels;
        size_t n;
        if (ctl_labels_read(files[i], NULL, (ctl_voice){hear, &h}, &labels, &n) != CTL_OK) fail_msg("%s", h.message);
        assert_int_equal(n, 3);
        assert_memory_equal(labels, want, sizeof want);
        ctl_free(&ctl_malloc_allocator, labels, n * sizeof *labels);
    }
    const char *signs = path_of("signs.npy"), *reals = path_of("reals.npy");
    write_npy(signs, "{'descr': '|i1', 'fortran_order': False, 'shape': (2,), }\n", negative, sizeof negative);
    write_npy(reals, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", want, 4);
    const struct {
        const char *path, *message;
    } wrong[] = {{signs, "label 1 is -1"},
                 {reals, "its elements are no integers"},
                 {write_text("c.txt", "1\ntwo\n"), "line 2 ends with no number of a class"},
                 {write_text("d.txt", "only,a,header\n"), "there is no label in it"}};
    for (size_t i = 0; i < CTL_COUNT(wrong); i++) {
        heard h = {0};
        int32_t *labels;
        size_t n;
        assert_int_equal(ctl_labels_read(wrong[i].path, NULL, (ctl_voice){hear, &h}, &labels, &n), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0612");
        char message[512];
        snprintf(message, sizeof message, "%s: no list of labels that can be used: %s", wrong[i].path, wrong[i].message);
        assert_string_equal(h.message, message);
    }
}

/* ---- what is wrong ---- */
static void test_misfits(void **state) {
    (void)state;
    ctl_images m;
    heard h;
    const char *labels = five_labels(), *images = images_of("|u1");
    const struct {
        int64_t rows, columns;
        const char *message;
    } cases[] = {
        {ROWS + 1, COLUMNS, "its images are 5 x 3 x 4 x 6: in patches of 2 x 2 that are not 7"},
        {ROWS, 10, "its images are 5 x 3 x 4 x 6, and the model's patches of 10 columns are no squares of 3 channels"},
        {2, 27, "its images are 5 x 3 x 4 x 6: in patches of 3 x 3 that are not 2"},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        h = (heard){0};
        assert_int_equal(ctl_images_open(&m, images, labels, cases[i].rows, cases[i].columns, NULL, NULL, (ctl_voice){hear, &h}), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0613");
        assert_string_equal(h.message + strlen(images) + 2, cases[i].message);
    }
    const char *four = write_text("four.txt", "0\n1\n2\n0\n");
    assert_int_equal(open_images(&m, images, four, NULL, &h), CTL_ERR_INPUT);
    assert_string_equal(h.code, "E0611");
    assert_non_null(strstr(h.message, "has 5 images, and "));
    const ctl_normalisation two = {2, {0, 0}, {1, 1}}, zero = {1, {0}, {0}};
    assert_int_equal(open_images(&m, images, labels, &two, &h), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "2 numbers normalise images of 3 channels"));
    assert_int_equal(open_images(&m, images, labels, &zero, &h), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "the normalisation of channel 0 is not of finite numbers, std above 0"));
    assert_int_equal(open_images(&m, images, labels, NULL, &h), CTL_OK);
    assert_int_equal(ctl_images_fit(&m, 3, (ctl_voice){hear, &h}), CTL_OK);
    assert_int_equal(ctl_images_fit(&m, 2, (ctl_voice){hear, &h}), CTL_ERR_INPUT);
    assert_string_equal(h.code, "E0615");
    assert_string_equal(h.message, "image 3 is of class 2, and the model has 2 classes");
    ctl_images_close(&m);
}

static void test_wrong_arrays(void **state) {
    (void)state;
    static const struct {
        const char *header, *message;
    } cases[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "its elements are of type '>f4'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "its elements are of type '<c8'"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", "it is stored column by column (Fortran order)"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "its shape is 2, of 4 bytes each, and it holds 4 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "its shape has more elements than there can be"},
        {"{'descr': '<f4', 'fortran_order': False}", "its header is damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}", "its header is damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", "its header is damaged"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "its header is damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "its header is damaged"},
        {"__import__('os')", "its header is damaged"},
    };
    const float x = 1;
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        ctl_npy a;
        heard h = {0};
        const char *path = path_of("wrong.npy");
        char message[512];
        write_npy(path, cases[i].header, &x, sizeof x);
        assert_int_equal(ctl_npy_open(&a, path, (ctl_place){{hear, &h}, &ctl_malloc_allocator}), CTL_ERR_INPUT);
        assert_string_equal(h.code, "E0612");
        snprintf(message, sizeof message, "%s: not an array that can be used: %s", path, cases[i].message);
        assert_string_equal(h.message, message);
    }
    ctl_npy a;
    heard h = {0};
    assert_int_equal(ctl_npy_open(&a, write_text("text.npy", "no array at all"), (ctl_place){{hear, &h}, &ctl_malloc_allocator}), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "it does not begin as NumPy's files do"));
    assert_int_equal(ctl_npy_open(&a, "/nonexistent.npy", (ctl_place){{hear, &h}, &ctl_malloc_allocator}), CTL_ERR_IO);
    assert_string_equal(h.message, "/nonexistent.npy: cannot read the data: No such file or directory");
}

static void test_damaged(void **state) {
    (void)state;
    const char *path = path_of("damaged.npy");
    const float data[6] = {1, 2, 3, 4, 5, 6};
    int accepted = 0;
    for (uint32_t trial = 0; trial < 4000; trial++) {
        uint32_t r[4], counter[4] = {trial, 9, 9, 9};
        size_t size;
        ctl_philox(counter, 8, r);
        unsigned char *bytes = raw_npy(1 + (int)(trial / 7 % 3), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", data, sizeof data, &size);
        for (uint32_t k = 0; k <= r[0] % 3; k++) bytes[(r[1] >> 4 * k) % size] = (unsigned char)(r[2] >> 8 * k);
        if (trial % 3 == 0) size = r[3] % (size + 1);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(bytes, 1, size, f), size);
        fclose(f);
        free(bytes);
        ctl_npy a;
        heard h = {0};
        ctl_status status = ctl_npy_open(&a, path, (ctl_place){{hear, &h}, &ctl_malloc_allocator});
        assert_true(status == CTL_OK ? h.n == 0 : status == CTL_ERR_INPUT && h.n == 1);
        if (status != CTL_OK) continue;
        accepted++;
        for (size_t i = 0; i < a.count; i++) (void)ctl_npy_real(&a, i);
        ctl_npy_close(&a);
    }
    assert_true(accepted > 10 && accepted < 3000);
}

static void test_memory(void **state) {
    (void)state;
    const char *images = images_of("|u1"), *labels = five_labels();
    bool done = false;
    for (size_t n = 0; !done && n < 100; n++) {
        meter count = {.left = n};
        const ctl_allocator a = {&count, meter_resize};
        ctl_images m, held = {.allocator = &a};
        ctl_loader *l = NULL;
        ctl_batch b = {0};
        ctl_status status = ctl_images_open(&m, images, labels, ROWS, COLUMNS, NULL, &a, (ctl_voice){0});
        if (status == CTL_OK) status = ctl_images_split(&m, 0.3, 1, &held);
        if (status == CTL_OK)
            status = ctl_loader_open_images(&m, &(ctl_packing){.rows = ROWS, .sequence = ROWS}, &a, (ctl_voice){0}, &l);
        if (status == CTL_OK) status = ctl_batch_open_for(&b, l, &a);
        done = status == CTL_OK;
        assert_true(done || status == CTL_ERR_MEMORY);
        ctl_batch_close(&b, &a);
        ctl_loader_close(l);
        ctl_images_close(&held);
        ctl_images_close(&m);
        assert_int_equal(count.held, 0);
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patches), cmocka_unit_test(test_rows),         cmocka_unit_test(test_split_and_order),
        cmocka_unit_test(test_labels),  cmocka_unit_test(test_misfits),      cmocka_unit_test(test_wrong_arrays),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
