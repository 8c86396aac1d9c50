/* Element types of values and tensors. */
#ifndef CTL_PUBLIC_DTYPE_H
#define CTL_PUBLIC_DTYPE_H

#include <stddef.h>

typedef enum ctl_dtype {
    CTL_REAL, /* compiler only: a real number whose precision the engine decides; counts as f32 in sizes */
    CTL_F64,
    CTL_F32,
    CTL_BF16,
    CTL_F16, /* files only: converted when read */
    CTL_I32,
    CTL_U8
} ctl_dtype;
size_t ctl_dtype_size(ctl_dtype dtype);
const char *ctl_dtype_name(ctl_dtype dtype); /* "f32", "bf16", ... */

#endif
