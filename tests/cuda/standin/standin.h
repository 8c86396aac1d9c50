/* standin: stand-ins of NVIDIA's driver, of cuBLASLt and of CUDA's compiler, as one shared object that the CUDA engine opens in
 * their place; and what a test asks of it. The device is an sm_86 of `memory` bytes, its memory the host's, poisoned when it is
 * allocated. Kernels are the host's compiler's (host.h). */
#ifndef CTL_TESTS_CUDA_STANDIN_H
#define CTL_TESTS_CUDA_STANDIN_H

#include <stddef.h>
#include <stdint.h>

enum { STANDIN_FAULT = 512, STANDIN_SHARED = 99 * 1024, STANDIN_WAYS = 6 /* orders of threads, times when copies land */ };

typedef struct standin_control {
    long calls;      /* of entry points so far, those of error texts and of the compiler apart */
    long fail_at;    /* the call with this number fails, and nothing happens in it but what it frees; -1: none */
    int fail_with;   /* its error */
    const char *failed; /* its name */
    const char *refuse; /* calls of this name fail where a capture begins, goes on or ends; NULL: none */
    long live;       /* objects that were made and not freed */
    size_t memory, held, most; /* bytes of the device, of them allocated, and allocated at most */
    unsigned attended[3]; /* of attention's forward, queries and keys, which copy asynchronously: a bit for each of STANDIN_WAYS */
    long launches, products, graph_launches, captures;
    long row_copies;   /* of many rows at once */
    long copies, waits; /* copies of bytes, from and to the device; times that a stream was waited for */
    long proposals;    /* of algorithms */
    size_t version;    /* of cuBLASLt */
    int driver;        /* the CUDA that the driver is of */
    int proposal;      /* which algorithm it proposes: 0 or 1 */
    int refuses;       /* every algorithm that it is asked about */
    char fault[STANDIN_FAULT]; /* what was wrong: a kernel's fault, a call that a device would not bear */
} standin_control;

/* The stand-in's own: found by dlsym as "standin". */
extern standin_control standin;

/* ---- among its files ---- */
/* A call begins: 0, or the error that it has to return. */
int standin_call(const char *name);
/* Notes the first fault; returns an error. */
int standin_fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Whether a stream is under capture, when nothing may be made, freed or waited for. */
int standin_capturing(void);
/* The same, of a call that a capture bears. */
int standin_records(void);
/* Work for a stream: done(payload copied) later, in order. */
int standin_enqueue(void *stream, int (*run)(const void *payload), const void *payload, size_t bytes);
/* Of the bytes of an image, which stands behind its size in the image's head. */
uint64_t standin_hash(const void *at, size_t n);
/* Whether the bytes are the device's. */
int standin_is_device(const void *at, size_t bytes);

#endif
