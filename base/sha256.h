/* sha256: the hash of FIPS 180-4, for caches that verify what they read. */
#ifndef CTL_SHA256_H
#define CTL_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct ctl_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
} ctl_sha256;

enum { CTL_SHA256_BYTES = 32, CTL_SHA256_HEX = 65 };

void ctl_sha256_begin(ctl_sha256 *h);
void ctl_sha256_add(ctl_sha256 *h, const void *bytes, size_t n);
void ctl_sha256_end(ctl_sha256 *h, unsigned char digest[CTL_SHA256_BYTES]);
/* Lower-case digits with a NUL. */
void ctl_sha256_hex(const unsigned char digest[CTL_SHA256_BYTES], char hex[CTL_SHA256_HEX]);

#endif
