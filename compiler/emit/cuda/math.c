/* math: math.def as text, for sources. The notation's macros are those of math_prelude.cu; only what a program uses is
 * written, and what that calls. */
#include "compiler/emit/cuda/build.h"

enum { EXP_SUM, EXP, LOG, TANH, ERF, TURN, SIN, COS, POW, FUNCTIONS };

typedef struct function {
    const char *head, *body;
} function;

#define MATH1(name, x, ...)    {"DEVICE float math_" #name "(float " #x ")", #__VA_ARGS__},
#define MATH2(name, x, y, ...) {"DEVICE float math_" #name "(float " #x ", float " #y ")", #__VA_ARGS__},
static const function functions[] = {
#include "compiler/kernel/math.def"
};
_Static_assert(CTL_COUNT(functions) == FUNCTIONS, "math.def has other functions, or in another order");

static unsigned needs(uint32_t op) {
    switch (op) {
    case OP_EXP:
        return 1u << EXP_SUM | 1u << EXP;
    case OP_LOG:
        return 1u << LOG;
    case OP_TANH:
        return 1u << TANH;
    case OP_ERF:
        return 1u << ERF;
    case OP_SIN:
        return 1u << TURN | 1u << SIN;
    case OP_COS:
        return 1u << TURN | 1u << COS;
    case OP_POW:
        return 1u << EXP_SUM | 1u << POW;
    default:
        return 0;
    }
}

const char *ctl_cuda_math_name(uint32_t op) {
    switch (op) {
    case OP_EXP:
        return "math_exp";
    case OP_LOG:
        return "math_log";
    case OP_TANH:
        return "math_tanh";
    case OP_ERF:
        return "math_erf";
    case OP_SIN:
        return "math_sin";
    case OP_COS:
        return "math_cos";
    case OP_POW:
        return "math_pow";
    default:
        return NULL;
    }
}

/* A definition a line. */
static void write_body(const char *body, ctl_text *out) {
    while (*body) {
        const char *end = strchr(body, ';');
        size_t n = end ? (size_t)(end - body) + 1 : strlen(body);
        ctl_text_add(out, "    %.*s\n", (int)n, body);
        body += n;
        while (*body == ' ') body++;
    }
}

void ctl_cuda_math(const ctl_rowprog *const *programs, size_t n, ctl_text *out) {
    unsigned wanted = 0;
    for (size_t k = 0; k < n; k++)
        for (uint32_t v = 0; v < programs[k]->n; v++) wanted |= needs(programs[k]->at[v].op);
    if (!wanted) return;
    ctl_text_add(out, "\n");
    ctl_text_put(out, ctl_cuda_text("math_prelude"), strlen(ctl_cuda_text("math_prelude")));
    for (unsigned f = 0; f < FUNCTIONS; f++)
        if (wanted >> f & 1) {
            ctl_text_add(out, "\n%s {\n", functions[f].head);
            write_body(functions[f].body, out);
            ctl_text_add(out, "}\n");
        }
}
