/* fragments: what test_cuda_fragments.c and the kernels of fragments.cu say to each other. */
#ifndef CTL_TESTS_CUDA_FRAGMENTS_H
#define CTL_TESTS_CUDA_FRAGMENTS_H

enum { FRAGMENTS_THREADS = 64, FRAGMENTS_IN = 20, FRAGMENTS_OUT = 40, FRAGMENTS_BEFORE = 0xa5a5 /* where no copy has landed */ };

typedef struct fragments_call {
    const unsigned *in; /* FRAGMENTS_IN words for each thread; aligned to 16 bytes */
    unsigned *out;      /* FRAGMENTS_OUT */
} fragments_call;

#endif
