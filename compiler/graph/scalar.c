/* scalar: see scalar.h. */
#include "compiler/graph/scalar.h"

#include <math.h>

bool ctl_scalar_compute(ctl_op op, const double x[3], double *y) {
    switch (op) {
    case OP_NEG: *y = -x[0]; return true;
    case OP_EXP: *y = exp(x[0]); return true;
    case OP_LOG: *y = log(x[0]); return true;
    case OP_SQRT: *y = sqrt(x[0]); return true;
    case OP_RSQRT: *y = 1 / sqrt(x[0]); return true;
    case OP_SIN: *y = sin(x[0]); return true;
    case OP_COS: *y = cos(x[0]); return true;
    case OP_TANH: *y = tanh(x[0]); return true;
    case OP_ERF: *y = erf(x[0]); return true;
    case OP_ADD: *y = x[0] + x[1]; return true;
    case OP_SUB: *y = x[0] - x[1]; return true;
    case OP_MUL: *y = x[0] * x[1]; return true;
    case OP_DIV: *y = x[0] / x[1]; return true;
    case OP_MOD: *y = x[0] - x[1] * floor(x[0] / x[1]); return true;
    case OP_POW: *y = pow(x[0], x[1]); return true;
    case OP_MAX: *y = x[0] > x[1] ? x[0] : x[1]; return true;
    case OP_MIN: *y = x[0] < x[1] ? x[0] : x[1]; return true;
    case OP_LT: *y = x[0] < x[1]; return true;
    case OP_LE: *y = x[0] <= x[1]; return true;
    case OP_EQ: *y = x[0] == x[1]; return true;
    case OP_SELECT: *y = x[0] != 0 ? x[1] : x[2]; return true;
    default: return false;
    }
}
