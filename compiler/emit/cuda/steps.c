/* steps: the values of a row program as C expressions. In a loop a step is a value for each of a thread's neighbouring
 * columns: what is read from memory stands in arrays x0[], x1[], .., and dropout's random words in r0[], .., made before the
 * body; the body runs over the columns with one definition v0, v1, .. for each operation. A pass's numbers are plain definitions. */
#include "compiler/emit/cuda/build.h"

#include <math.h>

#include "base/random.h"

const char *ctl_cuda_type(ctl_dtype dtype) {
    return dtype == CTL_BF16 ? "bf16" : dtype == CTL_I32 ? "int" : "float";
}
const char *ctl_cuda_suffix(ctl_dtype dtype) {
    return dtype == CTL_BF16 ? "bf16" : dtype == CTL_I32 ? "i32" : "f32";
}

static const char *literal(ctl_cuda_writer *w, double real) {
    const float x = (float)real;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (!isfinite(x)) return ctl_format(w->out->arena, "REAL_OF(0x%08xu)", bits);
    if (bits == 0x80000000u) return "(-0.0f)";
    if (fabsf(x) < 1e6f && x == (float)(int)x) return ctl_format(w->out->arena, x < 0 ? "(%.1ff)" : "%.1ff", (double)x);
    return ctl_format(w->out->arena, x < 0 ? "(%af)" : "%af", (double)x);
}

static bool is_alias(const ctl_row_instr *q) {
    return q->op == OP_CAST && q->dtype != CTL_BF16;
}

bool ctl_cuda_is_read(const ctl_cuda_writer *w, const ctl_row_step *s) {
    return s->kind == STEP_KEPT || (s->kind == STEP_COMPUTE && w->p->at[s->instr].op == ROW_LOAD);
}

static const char *named(ctl_cuda_writer *w, const ctl_row_steps *steps, uint32_t step, bool numbers) {
    const ctl_row_step *s = &steps->at[step];
    const ctl_row_instr *q = &w->p->at[s->instr];
    if (s->kind != STEP_KEPT && q->op == OP_CONST) return literal(w, q->f);
    if (s->kind == STEP_NUMBER) return ctl_format(w->out->arena, "n%u", s->instr);
    if (s->kind == STEP_COMPUTE && is_alias(q)) return named(w, steps, s->in[0], numbers);
    if (!numbers && ctl_cuda_is_read(w, s)) return ctl_format(w->out->arena, "x%u[i]", step);
    return ctl_format(w->out->arena, "v%u", step);
}

const char *ctl_cuda_value(ctl_cuda_writer *w, const ctl_row_steps *steps, uint32_t step) {
    return named(w, steps, step, false);
}
const char *ctl_cuda_number(ctl_cuda_writer *w, const ctl_row_steps *steps, uint32_t step) {
    return named(w, steps, step, true);
}

const char *ctl_cuda_wide(const ctl_cuda_writer *w, const ctl_row_operand *o, int64_t offset) {
    const int64_t size = (int64_t)ctl_dtype_size(o->dtype);
    const bool parts = o->at == AT_ROW && w->p->split > 1 && o->cols * size % 16;
    return parts || offset * size % 16 || (o->dtype == CTL_BF16 && w->kernel->vector != 8) ? "0" : w->whole ? "2 * wide" : "wide";
}

/* " + 5", " - 5", or nothing */
static const char *plus(ctl_cuda_writer *w, int64_t offset) {
    if (offset == 0) return "";
    return ctl_format(w->out->arena, offset < 0 ? " - %lld" : " + %lld", (long long)(offset < 0 ? -offset : offset));
}

void ctl_cuda_write_reads(ctl_cuda_writer *w, const ctl_row_steps *steps) {
    const int n = w->kernel->vector;
    for (uint32_t k = 0; k < steps->n; k++) {
        const ctl_row_step *s = &steps->at[k];
        if (s->kind == STEP_COMPUTE && w->p->at[s->instr].op == OP_DROP)
            ctl_cuda_line(w, "unsigned r%u[%d]; drop_words(r%u, %d, %d, key, call->site[%lld], batch_row, (unsigned)(c%s));", k, n, k, n,
                          s->offset % 4 == 0, (long long)w->p->at[s->instr].i[0], plus(w, s->offset));
        if (!ctl_cuda_is_read(w, s)) continue;
        if (s->kind == STEP_KEPT) {
            ctl_cuda_line(w, "float x%u[%d]; load_f32(x%u, kept + %lld + c%s, %d, from, to, %d);", k, n, k,
                          (long long)w->schedule->kept[s->instr], plus(w, s->offset), n, s->offset % 4 ? 0 : 1 + w->whole);
            continue;
        }
        const int64_t operand = w->p->at[s->instr].i[0];
        const ctl_row_operand *o = &w->p->operands[operand];
        ctl_cuda_line(w, "float x%u[%d]; load_%s(x%u, a%lld + c%s, %d, from, to, %s);", k, n, ctl_cuda_suffix(o->dtype),
                      k, (long long)operand, plus(w, s->offset), n, ctl_cuda_wide(w, o, s->offset));
    }
}

/* Of step k, in columns: their random words stand in r[k] before the body. */
static const char *drop_of(ctl_cuda_writer *w, const ctl_row_instr *q, uint32_t k, const char *column, bool numbers, const char *a) {
    const char *word = numbers ? ctl_format(w->out->arena, "drop_word(key, call->site[%lld], batch_row, (unsigned)(%s))",
                                            (long long)q->i[0], column)
                               : ctl_format(w->out->arena, "r%u[i]", k);
    return ctl_format(w->out->arena, "%s < 0x%xu ? 0.0f : %s / %s", word, ctl_drop_threshold(q->f), a,
                      literal(w, (float)(1.0 - q->f)));
}

static const char *operation(ctl_cuda_writer *w, const ctl_row_instr *q, const char *const *in) {
    ctl_arena *arena = w->out->arena;
    const char *a = in[0], *b = in[1], *name = ctl_cuda_math_name(q->op);
    if (name) return q->op == OP_POW ? ctl_format(arena, "%s(%s, %s)", name, a, b) : ctl_format(arena, "%s(%s)", name, a);
    switch (q->op) {
    case OP_NEG:
        return ctl_format(arena, "-%s", a);
    case OP_SQRT:
        return ctl_format(arena, "sqrtf(%s)", a);
    case OP_RSQRT:
        return ctl_format(arena, "1.0f / sqrtf(%s)", a);
    case OP_MOD:
        return ctl_format(arena, "%s - %s * floorf(%s / %s)", a, b, a, b);
    case OP_MAX:
        return ctl_format(arena, "%s > %s ? %s : %s", a, b, a, b);
    case OP_MIN:
        return ctl_format(arena, "%s < %s ? %s : %s", a, b, a, b);
    case OP_SELECT:
        return ctl_format(arena, "%s != 0.0f ? %s : %s", a, b, in[2]);
    case OP_TOINT:
        return ctl_format(arena, "rintf(%s)", a);
    case OP_CAST:
        return ctl_format(arena, "round_bf16(%s)", a);
    /* Of one number: wide ones are reduced in loops. */
    case OP_SUM:
        return ctl_format(arena, "0.0f + %s", a);
    case OP_ROWMAX:
        return ctl_format(arena, "choose_max(%s, REAL_OF(0xff800000u))", a);
    case OP_ADD:
        return ctl_format(arena, "%s + %s", a, b);
    case OP_SUB:
        return ctl_format(arena, "%s - %s", a, b);
    case OP_MUL:
        return ctl_format(arena, "%s * %s", a, b);
    case OP_DIV:
        return ctl_format(arena, "%s / %s", a, b);
    case OP_LT:
        return ctl_format(arena, "%s < %s ? 1.0f : 0.0f", a, b);
    case OP_LE:
        return ctl_format(arena, "%s <= %s ? 1.0f : 0.0f", a, b);
    case OP_EQ:
        return ctl_format(arena, "%s == %s ? 1.0f : 0.0f", a, b);
    default:
        return "no_such_operation"; /* which no compiler takes: not in a verified program */
    }
}

static const char *number_read(ctl_cuda_writer *w, const ctl_row_step *s) {
    const int64_t operand = w->p->at[s->instr].i[0];
    const ctl_dtype dtype = w->p->operands[operand].dtype;
    const long long k = operand, at = s->offset;
    const char *read = dtype == CTL_BF16  ? ctl_format(w->out->arena, "from_bf16(a%lld[%lld])", k, at)
                       : dtype == CTL_I32 ? ctl_format(w->out->arena, "(float)a%lld[%lld]", k, at)
                                          : ctl_format(w->out->arena, "a%lld[%lld]", k, at);
    return w->alone ? read : ctl_format(w->out->arena, "active ? %s : 0.0f", read);
}

static void define(ctl_cuda_writer *w, const ctl_row_steps *steps, bool numbers) {
    for (uint32_t k = 0; k < steps->n; k++) {
        const ctl_row_step *s = &steps->at[k];
        const ctl_row_instr *q = &w->p->at[s->instr];
        if (s->kind == STEP_NUMBER || (!numbers && ctl_cuda_is_read(w, s)) || q->op == OP_CONST || is_alias(q)) continue;
        const char *in[3] = {"", "", ""}, *text;
        const char *column = numbers ? ctl_format(w->out->arena, "%lld", (long long)s->offset)
                                     : ctl_format(w->out->arena, "c + i%s", plus(w, s->offset));
        for (uint32_t j = 0; j < q->nin; j++) in[j] = named(w, steps, s->in[j], numbers);
        if (q->op == ROW_LOAD) text = number_read(w, s);
        else if (q->op == OP_INDEX) text = ctl_format(w->out->arena, "(float)(%s)", column);
        else if (q->op == OP_DROP) text = drop_of(w, q, k, column, numbers, in[0]);
        else text = operation(w, q, in);
        ctl_cuda_line(w, "const float v%u = %s;", k, text);
    }
}

void ctl_cuda_write_body(ctl_cuda_writer *w, const ctl_row_steps *steps) {
    define(w, steps, false);
}
void ctl_cuda_write_numbers(ctl_cuda_writer *w, const ctl_row_steps *steps) {
    define(w, steps, true);
}
