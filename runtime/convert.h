/* convert: element types into one another, and ranges of elements in and out of operands' storage. */
#ifndef CTL_CONVERT_H
#define CTL_CONVERT_H

#include <stdbool.h>

#include "runtime/program.h"

/* f64, f32, bf16 and f16: what parameters and real inputs may be given in. */
bool ctl_dtype_is_real(ctl_dtype dtype);

/* Converts n elements, each rounded once, to nearest, ties to even. Both dtypes are real, or equal, or
 * `from` is i32 (places in documents, read as results). Neither pointer needs to be aligned: tensors in files are not. The ranges do not overlap. */
void ctl_convert(ctl_dtype to, void *out, ctl_dtype from, const void *in, size_t n);

/* Elements first .. first + count - 1 of the matrix, row-major and dense on the other side. base: where the
 * operand's storage begins. */
void ctl_matrix_put(void *base, const ctl_operand *operand, size_t first, size_t count, ctl_dtype from,
                    const void *in);
void ctl_matrix_get(const void *base, const ctl_operand *operand, size_t first, size_t count, ctl_dtype to,
                    void *out);

#endif
