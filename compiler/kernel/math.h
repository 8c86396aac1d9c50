/* math: the f32 functions of row programs in C, with exactly the bits that every back end must give (math.def
 * has the sequences). Their errors are in docs/rows.md, measured by tests/test_rows_values.c against libm in
 * double. NaN gives NaN. exp overflows to inf and underflows through the subnormals to 0; log 0 is -inf, log
 * of a negative number NaN; sin and cos are NaN from |x| = 2^22 on; sin and tanh lose the sign of -0; pow is
 * for x > 0 (0^y = e^(y * -inf)). */
#ifndef CTL_KERNEL_MATH_H
#define CTL_KERNEL_MATH_H

float ctl_math_expf(float x);
float ctl_math_logf(float x);
float ctl_math_tanhf(float x);
float ctl_math_erff(float x);
float ctl_math_sinf(float x);
float ctl_math_cosf(float x);
float ctl_math_powf(float x, float y);

#endif
