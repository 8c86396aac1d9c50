/* What the CUDA back end assumes of CUDA, against CUDA's own headers and cuBLASLt itself, where a toolkit is
 * (else skipped, and it says so). Nothing here needs a GPU.
 *
 * The runtime has tables of its own of the driver's, NVRTC's and cuBLASLt's entry points, numbers and
 * structures, since a program that is built without a toolkit must run where a driver is. A wrong number
 * there would be found on a device only: the stand-ins know the same numbers. Here each entry point is
 * called, in code that never runs, as its table declares it, and the compiler compares that with the header's
 * declaration; numbers and places in structures are compared when this is compiled. Then the real cuBLASLt,
 * whose descriptors are made without a device, is given those of products with a bias, with a sum and many at
 * once, and is asked what it understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#if __has_include(<cuda.h>) && __has_include(<cublasLt.h>) && __has_include(<nvrtc.h>)
#include <cublasLt.h>
#include <cuda.h>
#include <dlfcn.h>
#include <nvrtc.h>

#include "runtime/cuda/blaslt.h"
#include "runtime/cuda/nvrtc.h"

/* ---- numbers and structures ---- */
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours " is not " #theirs)
SAME(CTL_CU_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(CTL_CU_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(CTL_CU_INVALID_IMAGE, CUDA_ERROR_INVALID_IMAGE);
SAME(CTL_CU_NO_BINARY, CUDA_ERROR_NO_BINARY_FOR_GPU);
SAME(CTL_CU_UNSUPPORTED_PTX, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
SAME(CTL_CU_MULTIPROCESSORS, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME(CTL_CU_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(CTL_CU_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(CTL_CU_SHARED_OPTIN, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME(CTL_CU_FUNCTION_SHARED, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(CTL_CU_HOST, CU_MEMORYTYPE_HOST);
SAME(CTL_CU_DEVICE, CU_MEMORYTYPE_DEVICE);
SAME(CTL_CU_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
SAME(CTL_CU_CAPTURE_THREAD_LOCAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
SAME(CTL_BLASLT_COMPUTE_F32, CUBLAS_COMPUTE_32F);
SAME(CTL_BLASLT_F32, CUDA_R_32F);
SAME(CTL_BLASLT_BF16, CUDA_R_16BF);
SAME(CTL_BLASLT_DESC_TRANSPOSE_A, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(CTL_BLASLT_DESC_TRANSPOSE_B, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(CTL_BLASLT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(CTL_BLASLT_DESC_BIAS, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(CTL_BLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(CTL_BLASLT_LAYOUT_BATCH, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
SAME(CTL_BLASLT_LAYOUT_STEP, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(CTL_BLASLT_WANT_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(CTL_BLASLT_WANT_ALIGNMENT, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(CTL_BLASLT_WANT_ALIGNMENT + 1, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(CTL_BLASLT_WANT_ALIGNMENT + 2, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(CTL_BLASLT_WANT_ALIGNMENT + 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(CTL_BLASLT_NOT_INITIALIZED, CUBLAS_STATUS_NOT_INITIALIZED);
SAME(CTL_BLASLT_NO_MEMORY, CUBLAS_STATUS_ALLOC_FAILED);
SAME(CTL_BLASLT_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED);

#define PLACED(ours, field, theirs, member) SAME(offsetof(ours, field), offsetof(theirs, member))
SAME(sizeof(ctl_cu_pointer), sizeof(CUdeviceptr));
SAME(sizeof(ctl_cu_copy), sizeof(CUDA_MEMCPY2D));
PLACED(ctl_cu_copy, from_x, CUDA_MEMCPY2D, srcXInBytes);
PLACED(ctl_cu_copy, from_y, CUDA_MEMCPY2D, srcY);
PLACED(ctl_cu_copy, from_type, CUDA_MEMCPY2D, srcMemoryType);
PLACED(ctl_cu_copy, from_host, CUDA_MEMCPY2D, srcHost);
PLACED(ctl_cu_copy, from_device, CUDA_MEMCPY2D, srcDevice);
PLACED(ctl_cu_copy, from_array, CUDA_MEMCPY2D, srcArray);
PLACED(ctl_cu_copy, from_pitch, CUDA_MEMCPY2D, srcPitch);
PLACED(ctl_cu_copy, to_x, CUDA_MEMCPY2D, dstXInBytes);
PLACED(ctl_cu_copy, to_y, CUDA_MEMCPY2D, dstY);
PLACED(ctl_cu_copy, to_type, CUDA_MEMCPY2D, dstMemoryType);
PLACED(ctl_cu_copy, to_host, CUDA_MEMCPY2D, dstHost);
PLACED(ctl_cu_copy, to_device, CUDA_MEMCPY2D, dstDevice);
PLACED(ctl_cu_copy, to_array, CUDA_MEMCPY2D, dstArray);
PLACED(ctl_cu_copy, to_pitch, CUDA_MEMCPY2D, dstPitch);
PLACED(ctl_cu_copy, bytes, CUDA_MEMCPY2D, WidthInBytes);
PLACED(ctl_cu_copy, rows, CUDA_MEMCPY2D, Height);
SAME(sizeof(ctl_blaslt_algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(ctl_blaslt_proposal), sizeof(cublasLtMatmulHeuristicResult_t));
PLACED(ctl_blaslt_proposal, algorithm, cublasLtMatmulHeuristicResult_t, algo);
PLACED(ctl_blaslt_proposal, workspace, cublasLtMatmulHeuristicResult_t, workspaceSize);
PLACED(ctl_blaslt_proposal, state, cublasLtMatmulHeuristicResult_t, state);
PLACED(ctl_blaslt_proposal, waves, cublasLtMatmulHeuristicResult_t, wavesCount);

/* ---- entry points ---- */
/* A function with the parameters of a table's field that calls what the header declares: how many they are,
 * which are pointers (ANY: to what, is not compared) and how wide numbers are is the compiler's to judge.
 * NAMED compares the name in the table, as the address that the table got, with the one that the header's
 * macros choose. */
#define ANY      (void *)
#define UNCALLED __attribute__((unused))
#define CALLS(table, field, name, parameters, ...)                                                           \
    static int UNCALLED as_##table##_##field parameters {                                                    \
        return (int)name(__VA_ARGS__);                                                                       \
    }                                                                                                        \
    _Static_assert(                                                                                          \
        __builtin_types_compatible_p(__typeof__(((table *)0)->field), __typeof__(&as_##table##_##field)),    \
        #field);
typedef void **out; /* an address that a call fills */
typedef ctl_cu_pointer at;

#define DRIVER(X)                                                                                            \
    X(init, cuInit, (unsigned a), a)                                                                         \
    X(error_name, cuGetErrorName, (int a, const char **b), (CUresult)a, b)                                   \
    X(error_text, cuGetErrorString, (int a, const char **b), (CUresult)a, b)                                 \
    X(version, cuDriverGetVersion, (int *a), a)                                                                          \
    X(device_count, cuDeviceGetCount, (int *a), a)                                                           \
    X(device_get, cuDeviceGet, (int *a, int b), a, b)                                                        \
    X(device_name, cuDeviceGetName, (char *a, int b, int c), a, b, c)                                        \
    X(device_attribute, cuDeviceGetAttribute, (int *a, int b, int c), a, (CUdevice_attribute)b, c)           \
    X(context_retain, cuDevicePrimaryCtxRetain, (out a, int b), ANY a, b)                                    \
    X(context_release, cuDevicePrimaryCtxRelease, (int a), a)                                                \
    X(context_push, cuCtxPushCurrent, (void *a), a)                                                          \
    X(context_pop, cuCtxPopCurrent, (out a), ANY a)                                                          \
    X(memory_info, cuMemGetInfo, (size_t * a, size_t * b), a, b)                                             \
    X(allocate, cuMemAlloc, (at * a, size_t b), ANY a, b)                                                    \
    X(release, cuMemFree, (at a), a)                                                                         \
    X(host_allocate, cuMemHostAlloc, (out a, size_t b, unsigned c), a, b, c)                                 \
    X(host_release, cuMemFreeHost, (void *a), a)                                                             \
    X(to_device, cuMemcpyHtoDAsync, (at a, const void *b, size_t c, void *d), a, b, c, d)                    \
    X(to_host, cuMemcpyDtoHAsync, (void *a, at b, size_t c, void *d), a, b, c, d)                            \
    X(copy_rows, cuMemcpy2DAsync, (const ctl_cu_copy *a, void *b), (const void *)a, b)                       \
    X(fill, cuMemsetD8Async, (at a, unsigned char b, size_t c, void *d), a, b, c, d)                         \
    X(module_load, cuModuleLoadData, (out a, const void *b), ANY a, b)                                       \
    X(module_unload, cuModuleUnload, (void *a), a)                                                           \
    X(module_function, cuModuleGetFunction, (out a, void *b, const char *c), ANY a, b, c)                    \
    X(function_set, cuFuncSetAttribute, (void *a, int b, int c), a, (CUfunction_attribute)b, c)              \
    X(launch, cuLaunchKernel,                                                                                \
      (void *a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f, unsigned g, unsigned h, void *i, \
       void **j, void **k),                                                                                  \
      a, b, c, d, e, f, g, h, i, j, k)                                                                       \
    X(stream_create, cuStreamCreate, (out a, unsigned b), ANY a, b)                                          \
    X(stream_destroy, cuStreamDestroy, (void *a), a)                                                         \
    X(stream_synchronize, cuStreamSynchronize, (void *a), a)                                                 \
    X(capture_begin, cuStreamBeginCapture, (void *a, int b), a, (CUstreamCaptureMode)b)                      \
    X(capture_end, cuStreamEndCapture, (void *a, out b), a, ANY b)                                           \
    X(graph_instantiate, cuGraphInstantiate, (out a, void *b, unsigned long long c), ANY a, b, c)            \
    X(graph_launch, cuGraphLaunch, (void *a, void *b), a, b)                                                 \
    X(graph_destroy, cuGraphDestroy, (void *a), a)                                                           \
    X(executable_destroy, cuGraphExecDestroy, (void *a), a)                                                  \
    X(event_create, cuEventCreate, (out a, unsigned b), ANY a, b)                                            \
    X(event_record, cuEventRecord, (void *a, void *b), a, b)                                                 \
    X(event_milliseconds, cuEventElapsedTime, (float *a, void *b, void *c), a, b, c)                         \
    X(event_destroy, cuEventDestroy, (void *a), a)

#define BLASLT(X)                                                                                            \
    X(create, cublasLtCreate, (out a), ANY a)                                                                \
    X(destroy, cublasLtDestroy, (void *a), a)                                                                \
    X(desc_create, cublasLtMatmulDescCreate, (out a, int b, int c), ANY a, (cublasComputeType_t)b,           \
      (cudaDataType)c)                                                                                       \
    X(desc_destroy, cublasLtMatmulDescDestroy, (void *a), a)                                                 \
    X(desc_set, cublasLtMatmulDescSetAttribute, (void *a, int b, const void *c, size_t d), a,                \
      (cublasLtMatmulDescAttributes_t)b, c, d)                                                               \
    X(layout_create, cublasLtMatrixLayoutCreate, (out a, int b, uint64_t c, uint64_t d, int64_t e), ANY a,   \
      (cudaDataType)b, c, d, e)                                                                              \
    X(layout_destroy, cublasLtMatrixLayoutDestroy, (void *a), a)                                             \
    X(layout_set, cublasLtMatrixLayoutSetAttribute, (void *a, int b, const void *c, size_t d), a,            \
      (cublasLtMatrixLayoutAttribute_t)b, c, d)                                                              \
    X(want_create, cublasLtMatmulPreferenceCreate, (out a), ANY a)                                           \
    X(want_destroy, cublasLtMatmulPreferenceDestroy, (void *a), a)                                           \
    X(want_set, cublasLtMatmulPreferenceSetAttribute, (void *a, int b, const void *c, size_t d), a,          \
      (cublasLtMatmulPreferenceAttributes_t)b, c, d)                                                         \
    X(propose, cublasLtMatmulAlgoGetHeuristic,                                                               \
      (void *a, void *b, void *c, void *d, void *e, void *f, void *g, int h, ctl_blaslt_proposal *i,         \
       int *j),                                                                                              \
      a, b, c, d, e, f, g, h, ANY i, j)                                                                      \
    X(check, cublasLtMatmulAlgoCheck,                                                                        \
      (void *a, void *b, void *c, void *d, void *e, void *f, const ctl_blaslt_algorithm *g,                  \
       ctl_blaslt_proposal *h),                                                                              \
      a, b, c, d, e, f, (const void *)g, ANY h)                                                              \
    X(multiply, cublasLtMatmul,                                                                              \
      (void *a, void *b, const void *c, const void *d, void *e, const void *f, void *g, const void *h,       \
       const void *i, void *j, void *k, void *l, const ctl_blaslt_algorithm *m, void *n, size_t o, void *p), \
      a, b, c, d, e, f, g, h, i, j, k, l, (const void *)m, n, o, p)

#define NVRTC(X)                                                                                             \
    X(create, nvrtcCreateProgram,                                                                            \
      (out a, const char *b, const char *c, int d, const char *const *e, const char *const *f), ANY a, b, c, \
      d, e, f)                                                                                               \
    X(compile, nvrtcCompileProgram, (void *a, int b, const char *const *c), a, b, c)                         \
    X(destroy, nvrtcDestroyProgram, (out a), ANY a)                                                          \
    X(log_size, nvrtcGetProgramLogSize, (void *a, size_t *b), a, b)                                          \
    X(log, nvrtcGetProgramLog, (void *a, char *b), a, b)                                                     \
    X(cubin_size, nvrtcGetCUBINSize, (void *a, size_t *b), a, b)                                             \
    X(cubin, nvrtcGetCUBIN, (void *a, char *b), a, b)                                                        \
    X(ptx_size, nvrtcGetPTXSize, (void *a, size_t *b), a, b)                                                 \
    X(ptx, nvrtcGetPTX, (void *a, char *b), a, b)

#define DRIVER_CALLS(field, name, parameters, ...)                                                           \
    CALLS(ctl_cuda_driver, field, name, parameters, __VA_ARGS__)
#define BLASLT_CALLS(field, name, parameters, ...) CALLS(ctl_blaslt, field, name, parameters, __VA_ARGS__)
#define NVRTC_CALLS(field, name, parameters, ...)  CALLS(ctl_nvrtc, field, name, parameters, __VA_ARGS__)
DRIVER(DRIVER_CALLS)
BLASLT(BLASLT_CALLS)
NVRTC(NVRTC_CALLS)
static size_t UNCALLED as_version(void) {
    return cublasLtGetVersion();
}
static const char *UNCALLED as_error(int code) {
    return nvrtcGetErrorString((nvrtcResult)code);
}
_Static_assert(__builtin_types_compatible_p(__typeof__(((ctl_blaslt *)0)->version), __typeof__(&as_version)),
               "version");
_Static_assert(__builtin_types_compatible_p(__typeof__(((ctl_nvrtc *)0)->error), __typeof__(&as_error)),
               "error");

#define TEXT(name)    #name
#define TEXT_OF(name) TEXT(name)
static void named(void *library, const char *name, const void *field) {
    void *got;
    memcpy(&got, field, sizeof got);
    /* Headers of CUDA 13 name a second form with the same parameters; drivers have the first as well. */
    if (strcmp(name, "cuEventElapsedTime_v2") == 0) name = "cuEventElapsedTime";
    void *const is = dlsym(library, name);
    if (!is || is != got) fail_msg("the table has another entry point where the header says %s", name);
}
#define IS_NAMED(field, name, parameters, ...) named(table.library, TEXT_OF(name), &table.field);

static const char *const standins[] = {STANDIN_DIR};
static const ctl_cuda_folders standin_folder = {standins, 1};

/* What the tables were filled with is what the header's names stand for: shown on a library that has them
 * all. */
static void test_names(void **state) {
    (void)state;
    char why[CTL_CUDA_WHY];
    {
        ctl_cuda_driver table;
        assert_int_equal(ctl_cuda_driver_open(&table, &standin_folder, why), CTL_OK);
        DRIVER(IS_NAMED)
        ctl_cuda_driver_close(&table);
    }
    {
        ctl_blaslt table;
        assert_int_equal(ctl_blaslt_open(&table, &standin_folder, why), CTL_OK);
        BLASLT(IS_NAMED)
        named(table.library, "cublasLtGetVersion", &table.version);
        ctl_blaslt_close(&table);
    }
    {
        ctl_nvrtc table;
        assert_int_equal(ctl_nvrtc_open(&table, STANDIN_DIR "/libnvrtc.so.13", NULL, why), CTL_OK);
        NVRTC(IS_NAMED)
        named(table.library, "nvrtcGetErrorString", &table.error);
        ctl_nvrtc_close(&table);
    }
}

/* ---- what cuBLASLt understands ---- */
/* Descriptors can be asked for what they were given; the names are cublasLt.h's. */
typedef cublasStatus_t (*getter)(const void *of, int attribute, void *value, size_t size, size_t *written);
typedef struct teller {
    getter desc, layout, want;
} teller;
static teller tell;        /* for heard_want too, which is called as cuBLASLt is */
static uint64_t wanted[5]; /* workspace; alignments of A, B, C, D */

static uint64_t told(getter get, const void *of, int attribute, size_t size) {
    uint64_t value = 0;
    size_t written = 0;
    assert_int_equal(get(of, attribute, &value, size, &written), CUBLAS_STATUS_SUCCESS);
    assert_int_equal(written, size);
    return value;
}

/* Instead of cublasLtMatmulAlgoGetHeuristic, which needs a device: notes what the preference says. */
static int heard_want(void *handle, void *desc, void *a, void *b, void *c, void *d, void *want, int most,
                      ctl_blaslt_proposal *proposals, int *n) {
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d, (void)most, (void)proposals;
    static const int alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    wanted[0] = told(tell.want, want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, sizeof(uint64_t));
    for (int k = 0; k < 4; k++) wanted[k + 1] = told(tell.want, want, alignments[k], sizeof(uint32_t));
    *n = 0;
    return CTL_OK;
}

static void check_layout(const void *layout, int type, int64_t rows, int64_t cols, int64_t stride, int batch,
                         int64_t step) {
    getter get = tell.layout;
    assert_int_equal(told(get, layout, CUBLASLT_MATRIX_LAYOUT_TYPE, sizeof(uint32_t)), type);
    assert_int_equal(told(get, layout, CUBLASLT_MATRIX_LAYOUT_ORDER, sizeof(int32_t)), CUBLASLT_ORDER_COL);
    assert_int_equal(told(get, layout, CUBLASLT_MATRIX_LAYOUT_ROWS, sizeof(uint64_t)), rows);
    assert_int_equal(told(get, layout, CUBLASLT_MATRIX_LAYOUT_COLS, sizeof(uint64_t)), cols);
    assert_int_equal(told(get, layout, CUBLASLT_MATRIX_LAYOUT_LD, sizeof(int64_t)), stride);
    assert_int_equal(told(get, layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, sizeof(int32_t)), batch);
    assert_int_equal(told(get, layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, sizeof(int64_t)), step);
}

static void check_desc(const void *desc, int turn_a, int turn_b, int epilogue) {
    getter get = tell.desc;
    assert_int_equal(told(get, desc, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, sizeof(int32_t)), CUBLAS_COMPUTE_32F);
    assert_int_equal(told(get, desc, CUBLASLT_MATMUL_DESC_SCALE_TYPE, sizeof(int32_t)), CUDA_R_32F);
    assert_int_equal(told(get, desc, CUBLASLT_MATMUL_DESC_TRANSA, sizeof(int32_t)), turn_a);
    assert_int_equal(told(get, desc, CUBLASLT_MATMUL_DESC_TRANSB, sizeof(int32_t)), turn_b);
    assert_int_equal(told(get, desc, CUBLASLT_MATMUL_DESC_EPILOGUE, sizeof(uint32_t)), epilogue);
}

/* y [48, 96] bf16 = x [48, 64] W' + bias, with y's columns in the middle of a wider buffer: W is [96, 64]. By
 * columns it is y' [96, 48] = W x', of which W lies as its transpose: A is W's layout, turned, and B that of
 * x. */
static void test_linear(const ctl_blaslt *real) {
    const ctl_blaslt_form form = {.a = {CTL_BF16, 48, 64, 64, 0, 0},
                                  .b = {CTL_BF16, 96, 64, 64, 0, 0},
                                  .d = {CTL_BF16, 48, 96, 200, 16, 0},
                                  .transpose_b = true,
                                  .has_bias = true,
                                  .bias_slack = 32,
                                  .workspace = 32u << 20};
    ctl_blaslt_product product;
    ctl_blaslt_choice choice;
    assert_int_equal(ctl_blaslt_describe(real, &form, &product), 0);
    check_desc(product.desc, CUBLAS_OP_T, CUBLAS_OP_N, CUBLASLT_EPILOGUE_BIAS);
    check_layout(product.a, CUDA_R_16BF, 64, 96, 64, 1, 0);
    check_layout(product.b, CUDA_R_16BF, 64, 48, 64, 1, 0);
    check_layout(product.c, CUDA_R_16BF, 96, 48, 200, 1, 0);
    check_layout(product.d, CUDA_R_16BF, 96, 48, 200, 1, 0);
    assert_int_equal(ctl_blaslt_set_bias(real, &product, 0x7f00000040), 0);
    assert_true(told(tell.desc, product.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, sizeof(void *)) ==
                0x7f00000040);

    ctl_blaslt asked = *real;
    asked.propose = heard_want;
    assert_int_equal(ctl_blaslt_propose(&asked, NULL, &form, &product, &choice),
                     CTL_BLASLT_NOT_SUPPORTED); /* none was proposed */
    assert_int_equal(wanted[0], 32u << 20);
    assert_int_equal(wanted[1], 64);
    assert_int_equal(wanted[2], 64);
    assert_int_equal(wanted[3], 16); /* C's: without an addend it is D */
    assert_int_equal(wanted[4], 16);
    ctl_blaslt_drop(real, &product);
}

/* f32 gradients [64, 96] += x' [64, 48] dy, and seven products at once whose left side is one for all. */
static void test_sum_and_batch(const ctl_blaslt *real) {
    const ctl_blaslt_form sum = {.a = {CTL_BF16, 48, 64, 64, 0, 0},
                                 .b = {CTL_BF16, 48, 96, 104, 0, 0},
                                 .d = {CTL_F32, 64, 96, 96, 0, 0},
                                 .add = {CTL_F32, 64, 96, 128, 0, 0},
                                 .transpose_a = true,
                                 .has_add = true,
                                 .workspace = 0};
    ctl_blaslt_product product;
    assert_int_equal(ctl_blaslt_describe(real, &sum, &product), 0);
    check_desc(product.desc, CUBLAS_OP_N, CUBLAS_OP_T, CUBLASLT_EPILOGUE_DEFAULT);
    check_layout(product.a, CUDA_R_16BF, 96, 48, 104, 1, 0);
    check_layout(product.b, CUDA_R_16BF, 64, 48, 64, 1, 0);
    check_layout(product.c, CUDA_R_32F, 96, 64, 128, 1, 0);
    check_layout(product.d, CUDA_R_32F, 96, 64, 96, 1, 0);
    ctl_blaslt_drop(real, &product);

    const ctl_blaslt_form batch = {.a = {CTL_F32, 32, 32, 32, 0, 0},
                                   .b = {CTL_F32, 32, 24, 40, 0, 32 * 40},
                                   .d = {CTL_F32, 32, 24, 24, 0, 32 * 24},
                                   .workspace = 4096,
                                   .batch = 7};
    assert_int_equal(ctl_blaslt_describe(real, &batch, &product), 0);
    check_layout(product.a, CUDA_R_32F, 24, 32, 40, 7, 32 * 40);
    check_layout(product.b, CUDA_R_32F, 32, 32, 32, 7, 0);
    check_layout(product.d, CUDA_R_32F, 24, 32, 24, 7, 32 * 24);
    ctl_blaslt_drop(real, &product);
}

static getter find(const ctl_blaslt *real, const char *name) {
    void *const entry = dlsym(real->library, name);
    getter get;
    assert_non_null(entry);
    memcpy(&get, &entry, sizeof get); /* POSIX: a function's address fits */
    return get;
}

static void test_understood(void **state) {
    (void)state;
    char why[CTL_CUDA_WHY];
    ctl_blaslt real;
    if (ctl_blaslt_open(&real, NULL, why) != CTL_OK) {
        print_message("cuBLASLt itself is asked nothing: %s\n", why);
        skip();
    }
    tell = (teller){find(&real, "cublasLtMatmulDescGetAttribute"),
                    find(&real, "cublasLtMatrixLayoutGetAttribute"),
                    find(&real, "cublasLtMatmulPreferenceGetAttribute")};
    assert_true(real.version() >= 120000);
    test_linear(&real);
    test_sum_and_batch(&real);
    ctl_blaslt_close(&real);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_understood)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
static void test_headers(void **state) {
    (void)state;
    print_message("CUDA's headers are not here: what the runtime assumes of them is not compared\n");
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_headers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
