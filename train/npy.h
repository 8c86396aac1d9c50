/* npy: arrays of NumPy's .npy format, versions 1 to 3, mapped and distrusted: the header (a literal of Python: a dict of
 * descr, fortran_order and shape) is parsed here, and the data must have exactly the bytes that it says. */
#ifndef CTL_TRAIN_NPY_H
#define CTL_TRAIN_NPY_H

#include "runtime/files.h"

enum { CTL_NPY_DIMS = 8 };
typedef enum ctl_npy_kind { CTL_NPY_FLOAT, CTL_NPY_INT, CTL_NPY_UNSIGNED, CTL_NPY_BOOL } ctl_npy_kind;

typedef struct ctl_npy {
    ctl_npy_kind kind;
    int size; /* bytes of an element: 2, 4, 8 for floats, 1, 2, 4, 8 for the others */
    int ndims;
    int64_t dims[CTL_NPY_DIMS];
    size_t count;     /* elements */
    const void *data; /* row-major, little-endian, perhaps unaligned */
    void *map;
    size_t map_size;
} ctl_npy;

/* CTL_ERR_IO, CTL_ERR_INPUT (said with the file), CTL_ERR_MEMORY. */
ctl_status ctl_npy_open(ctl_npy *a, const char *path, ctl_place place);
void ctl_npy_close(ctl_npy *a);
/* Elements as numbers: a float of any size, an integer of any size (above INT64_MAX it comes back negative). */
double ctl_npy_real(const ctl_npy *a, size_t i);
int64_t ctl_npy_int(const ctl_npy *a, size_t i);
/* "4 x 3 x 32 x 32" into buf of 200; returns buf. */
const char *ctl_npy_shape(const ctl_npy *a, char *buf);

#endif
