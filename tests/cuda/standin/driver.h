/* driver: what the files of the driver's stand-in share: how an entry point begins, and errors. */
#ifndef CTL_TESTS_CUDA_STANDIN_DRIVER_H
#define CTL_TESTS_CUDA_STANDIN_DRIVER_H

#include "tests/cuda/standin/standin.h"

#define ENTRY(name, ...)                                                                                     \
    int name(__VA_ARGS__);                                                                                   \
    int name(__VA_ARGS__)
enum { ERROR_INVALID = 1, ERROR_MEMORY = 2, ERROR_IMAGE = 200, ERROR_CONTEXT = 201, ERROR_NOT_FOUND = 500, ERROR_KERNEL = 700, ERROR_CAPTURE = 900 };

#define BEGIN(name)                                                                                          \
    do {                                                                                                     \
        const int begin_error = standin_call(name);                                                          \
        if (begin_error) return begin_error;                                                                 \
    } while (0)

#endif
