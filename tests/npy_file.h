/* npy_file: .npy files written byte by byte for tests, right or wrong. Include stdio and cmocka first. */
#ifndef CTL_TESTS_NPY_FILE_H
#define CTL_TESTS_NPY_FILE_H

#include <stdlib.h>
#include <string.h>

/* The file's bytes, the caller's. header: the Python literal. */
static unsigned char *raw_npy(int version, const char *header, const void *data, size_t bytes, size_t *size) {
    const size_t n = strlen(header), prefix = version == 1 ? 10 : 12;
    unsigned char *out = malloc(prefix + n + bytes);
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version, out[7] = 0;
    for (size_t k = 0; k < prefix - 8; k++) out[8 + k] = (unsigned char)(n >> 8 * k);
    memcpy(out + prefix, header, n);
    if (bytes) memcpy(out + prefix + n, data, bytes);
    *size = prefix + n + bytes;
    return out;
}

static void write_npy(const char *path, const char *header, const void *data, size_t bytes) {
    size_t size;
    unsigned char *file = raw_npy(1, header, data, bytes, &size);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    free(file);
}

#endif
