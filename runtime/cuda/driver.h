/* driver: NVIDIA's driver, libcuda.so.1, as a table of the entry points that are used: filled from the library by dlopen, so
 * that one binary runs with and without it, or by a test's stand-in. Names, signatures and numbers are those of cuda.h of CUDA
 * 12.0: the name in the table is the one that cuda.h's macros choose (cuMemAlloc is cuMemAlloc_v2). */
#ifndef CTL_RUNTIME_CUDA_DRIVER_H
#define CTL_RUNTIME_CUDA_DRIVER_H

#include <stdint.h>

#include "runtime/cuda/library.h"

typedef uint64_t ctl_cu_pointer; /* CUdeviceptr */

enum { /* CUresult */
    CTL_CU_OUT_OF_MEMORY = 2,
    CTL_CU_NO_DEVICE = 100,
    CTL_CU_INVALID_IMAGE = 200,
    CTL_CU_NO_BINARY = 209,
    CTL_CU_UNSUPPORTED_PTX = 222
};
enum { /* CUdevice_attribute, CUfunction_attribute, flags */
    CTL_CU_MULTIPROCESSORS = 16,
    CTL_CU_MAJOR = 75,
    CTL_CU_MINOR = 76,
    CTL_CU_SHARED_OPTIN = 97,
    CTL_CU_FUNCTION_SHARED = 8,
    CTL_CU_HOST = 1, /* CUmemorytype */
    CTL_CU_DEVICE = 2,
    CTL_CU_STREAM_NON_BLOCKING = 1,
    CTL_CU_CAPTURE_THREAD_LOCAL = 1
};

typedef struct ctl_cu_copy { /* CUDA_MEMCPY2D: rows of so many bytes, a pitch apart on either side */
    size_t from_x, from_y;
    int from_type;
    const void *from_host;
    ctl_cu_pointer from_device;
    void *from_array;
    size_t from_pitch;
    size_t to_x, to_y;
    int to_type;
    void *to_host;
    ctl_cu_pointer to_device;
    void *to_array;
    size_t to_pitch;
    size_t bytes, rows;
} ctl_cu_copy;

typedef struct ctl_cuda_driver {
    void *library; /* NULL in a stand-in */
    int cuda;      /* the CUDA that it is of: 12040 is 12.4 */
    int (*init)(unsigned flags);
    int (*error_name)(int error, const char **name);
    int (*error_text)(int error, const char **text);
    int (*version)(int *cuda);
    int (*device_count)(int *count);
    int (*device_get)(int *device, int ordinal);
    int (*device_name)(char *name, int size, int device);
    int (*device_attribute)(int *value, int attribute, int device);
    int (*context_retain)(void **context, int device);
    int (*context_release)(int device);
    int (*context_push)(void *context);
    int (*context_pop)(void **context);
    int (*memory_info)(size_t *unused, size_t *all);
    int (*allocate)(ctl_cu_pointer *at, size_t bytes);
    int (*release)(ctl_cu_pointer at);
    int (*host_allocate)(void **at, size_t bytes, unsigned flags); /* memory that the device reads while others run */
    int (*host_release)(void *at);
    int (*to_device)(ctl_cu_pointer to, const void *from, size_t bytes, void *stream);
    int (*to_host)(void *to, ctl_cu_pointer from, size_t bytes, void *stream);
    int (*copy_rows)(const ctl_cu_copy *copy, void *stream);
    int (*fill)(ctl_cu_pointer at, unsigned char byte, size_t bytes, void *stream);
    int (*module_load)(void **module, const void *image);
    int (*module_unload)(void *module);
    int (*module_function)(void **function, void *module, const char *name);
    int (*function_set)(void *function, int attribute, int value);
    int (*launch)(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                  unsigned block_z, unsigned shared, void *stream, void **arguments, void **extra);
    int (*stream_create)(void **stream, unsigned flags);
    int (*stream_destroy)(void *stream);
    int (*stream_synchronize)(void *stream);
    int (*capture_begin)(void *stream, int mode);
    int (*capture_end)(void *stream, void **graph);
    int (*graph_instantiate)(void **executable, void *graph, unsigned long long flags);
    int (*graph_launch)(void *executable, void *stream);
    int (*graph_destroy)(void *graph);
    int (*executable_destroy)(void *executable);
    int (*event_create)(void **event, unsigned flags);
    int (*event_record)(void *event, void *stream);
    int (*event_milliseconds)(float *milliseconds, void *first, void *last);
    int (*event_destroy)(void *event);
} ctl_cuda_driver;

/* CTL_ERR_UNSUPPORTED with what is missing in why: the library, or, after it was found, a device. */
ctl_status ctl_cuda_driver_open(ctl_cuda_driver *d, const ctl_cuda_folders *folders, char why[CTL_CUDA_WHY]);
void ctl_cuda_driver_close(ctl_cuda_driver *d);

typedef struct ctl_cuda_device {
    int number;
    int major, minor;      /* compute capability */
    int multiprocessors;
    size_t shared_bytes;   /* that a block may have */
    char name[96];
} ctl_cuda_device;
/* The first device (of CUDA_VISIBLE_DEVICES, as the driver reads it). */
ctl_status ctl_cuda_device_find(const ctl_cuda_driver *d, ctl_cuda_device *device, char why[CTL_CUDA_WHY]);

/* "out of memory (CUDA_ERROR_OUT_OF_MEMORY)" into text of CTL_CUDA_WHY; returns it. */
const char *ctl_cuda_error(const ctl_cuda_driver *d, int error, char text[CTL_CUDA_WHY]);

#endif
