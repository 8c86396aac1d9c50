/* token_file: safetensors written byte by byte for tests, of any element type, right or wrong. Include stdio and cmocka
 * first. */
#ifndef CTL_TESTS_TOKEN_FILE_H
#define CTL_TESTS_TOKEN_FILE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct raw_tensor {
    const char *name, *type; /* "U16" */
    size_t n, size;          /* elements, and bytes of one */
    const void *data;
} raw_tensor;

/* Returns the file's bytes, the caller's; metadata: a JSON object. */
static unsigned char *raw_safetensors(const char *metadata, const raw_tensor *t, size_t n, size_t *size) {
    char header[4096];
    size_t at = 0, data = 0;
    at += (size_t)snprintf(header, sizeof header, "{\"__metadata__\": %s", metadata);
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(header + at, sizeof header - at,
                               ", \"%s\": {\"dtype\": \"%s\", \"shape\": [%zu], \"data_offsets\": [%zu, %zu]}", t[i].name,
                               t[i].type, t[i].n, data, data + t[i].n * t[i].size);
        data += t[i].n * t[i].size;
    }
    header[at++] = '}';
    unsigned char *out = malloc(8 + at + data);
    for (int k = 0; k < 8; k++) out[k] = (unsigned char)(at >> 8 * k);
    memcpy(out + 8, header, at);
    *size = 8 + at;
    for (size_t i = 0; i < n; i++) {
        if (t[i].n) memcpy(out + *size, t[i].data, t[i].n * t[i].size);
        *size += t[i].n * t[i].size;
    }
    return out;
}

static void write_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void write_raw_safetensors(const char *path, const char *metadata, const raw_tensor *t, size_t n) {
    size_t size;
    unsigned char *bytes = raw_safetensors(metadata, t, n, &size);
    write_bytes(path, bytes, size);
    free(bytes);
}

#define RAW(name, type, array) {name, type, sizeof(array) / sizeof *(array), sizeof *(array), array}

#endif
