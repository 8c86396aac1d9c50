/* rowprog: the verifier, the printer and the key of row programs. What their bits are is said in rowprog.h;
 * how they are cut into passes, in rowprog_schedule.h. */
#include "compiler/kernel/rowprog.h"

#define OP(id, text, cls, least, most) {text, CLASS_##cls, least, most},
static const struct {
    const char *text;
    ctl_op_class cls;
    uint32_t least, most;
} ops[ROW_OP_COUNT] = {
#include "compiler/graph/ops.def"
    [ROW_LOAD] = {"load", CLASS_LEAF, 0, 0},
    [ROW_STORE] = {"store", CLASS_LEAF, 1, 1},
    [ROW_ADD_TO] = {"add_to", CLASS_LEAF, 1, 1},
    [ROW_COLSUM] = {"colsum_to", CLASS_LEAF, 1, 1},
};
#undef OP

static bool known(uint32_t op) {
    if (op >= ROW_OP_COUNT) return false;
    switch (op) {
    case OP_CONST:
    case OP_INDEX:
    case OP_SUM:
    case OP_ROWMAX:
    case OP_COLUMNS:
    case OP_CAT:
    case ROW_LOAD:
    case ROW_STORE:
    case ROW_ADD_TO:
    case ROW_COLSUM:
        return true;
    case OP_TOREAL:
    case OP_STATE:
    case OP_STOP:
        return false;
    default:
        return ops[op].cls == CLASS_MAP;
    }
}

static bool writes(uint32_t op) {
    return op == ROW_STORE || op == ROW_ADD_TO || op == ROW_COLSUM;
}

/* ---- verifier ---- */
/* bf16 numbers that need no rounding any more: casts, loads, and what only chooses among them. */
static bool is_bf16(const ctl_rowprog *p, uint32_t v) {
    const ctl_row_instr *q = &p->at[v];
    switch (q->op) {
    case OP_CAST:
        return q->dtype == CTL_BF16;
    case ROW_LOAD:
        return p->operands[q->i[0]].dtype == CTL_BF16;
    case OP_COLUMNS:
        return is_bf16(p, q->in[0]);
    case OP_CAT:
        for (uint32_t k = 0; k < q->nin; k++)
            if (!is_bf16(p, q->in[k])) return false;
        return true;
    default:
        return false;
    }
}

static const char *misplaced(const ctl_rowprog *p, const ctl_row_operand *o, uint32_t op) {
    switch (op) {
    case ROW_LOAD:
        return o->at == AT_CHUNK ? "a load from an operand of partial sums" : NULL;
    case ROW_STORE:
        if (o->at == AT_ROW || o->at == AT_FIXED || (o->at == AT_OUTER && p->split == 1)) return NULL;
        return "a store to rows that are not each written once";
    case ROW_ADD_TO:
        if (o->dtype != CTL_F32) return "add_to needs an f32 operand";
        return o->at == AT_ROW || o->at == AT_FIXED ? NULL : "add_to needs an operand at ROW or FIXED";
    default:
        if (o->dtype != CTL_F32) return "colsum needs an f32 operand";
        return o->at == AT_CHUNK ? NULL : "colsum needs an operand at CHUNK";
    }
}

static const char *access_fault(const ctl_rowprog *p, const ctl_row_instr *q) {
    if (q->i[0] < 0 || q->i[0] >= (int64_t)p->noperands) return "no such operand";
    const ctl_row_operand *o = &p->operands[q->i[0]];
    if (q->width != o->cols) return "a load or store whose width is not its operand's";
    const char *fault = misplaced(p, o, q->op);
    if (fault) return fault;
    if (!writes(q->op)) return NULL;
    int64_t width = p->at[q->in[0]].width;
    if (width != 1 && width != q->width) return "a store of a value of another width";
    if (q->op == ROW_STORE && o->dtype == CTL_BF16 && !is_bf16(p, q->in[0]))
        return "a store to a bf16 operand of a value that was not rounded by a cast";
    return NULL;
}

static const char *map_fault(const ctl_rowprog *p, const ctl_row_instr *q) {
    int64_t width = 1;
    for (uint32_t k = 0; k < q->nin; k++) {
        int64_t w = p->at[q->in[k]].width;
        if (w == 1) continue;
        if (width != 1 && w != width) return "operands of different widths";
        width = w;
    }
    if (q->width != width) return "a map whose width is not its operands'";
    if (q->op == OP_CAST && q->dtype != CTL_BF16 && q->dtype != CTL_F32 && q->dtype != CTL_REAL)
        return "a cast to something that is neither bf16 nor f32";
    if (q->op == OP_DROP) {
        if (q->i[0] < 0 || q->i[0] >= (int64_t)p->nsites) return "no such dropout site";
        if (!(q->f >= 0 && q->f < 1)) return "a dropout probability outside [0, 1)";
    }
    return NULL;
}

static const char *instr_fault(const ctl_rowprog *p, uint32_t v) {
    const ctl_row_instr *q = &p->at[v];
    if (!known(q->op)) return "an operation that has no place in a row program";
    if (q->width < 1 || q->width > CTL_ROW_WIDEST) return "a width out of range";
    if (q->nin < ops[q->op].least || q->nin > ops[q->op].most) return "a wrong number of inputs";
    for (uint32_t k = 0; k < q->nin; k++)
        if (q->in[k] >= v || writes(p->at[q->in[k]].op)) return "an input that is no earlier value";
    int64_t width = 0;
    switch (q->op) {
    case OP_CONST:
    case OP_SUM:
    case OP_ROWMAX:
        return q->width == 1 ? NULL : "a constant or reduction whose width is not 1";
    case OP_INDEX:
        return NULL;
    case OP_COLUMNS:
        if (q->i[0] < 0 || q->i[1] <= q->i[0] || q->i[1] > p->at[q->in[0]].width ||
            q->width != q->i[1] - q->i[0])
            return "columns that do not exist";
        return NULL;
    case OP_CAT:
        for (uint32_t k = 0; k < q->nin; k++) width += p->at[q->in[k]].width;
        return q->width == width ? NULL : "a cat whose width is not its parts'";
    case ROW_LOAD:
    case ROW_STORE:
    case ROW_ADD_TO:
    case ROW_COLSUM:
        return access_fault(p, q);
    default:
        return map_fault(p, q);
    }
}

bool ctl_rowprog_verify(const ctl_rowprog *p, const char **why) {
    enum { READ = 1, WRITTEN = 2 };
    unsigned char used[CTL_MOST_OPERANDS] = {0};
    *why = NULL;
    if (p->split < 1) *why = "a split below 1";
    if (p->noperands > CTL_MOST_OPERANDS) *why = "too many operands";
    for (uint32_t k = 0; !*why && k < p->noperands; k++) {
        const ctl_row_operand *o = &p->operands[k];
        if (o->dtype != CTL_F32 && o->dtype != CTL_BF16 && o->dtype != CTL_I32)
            *why = "an operand of a type unknown here";
        else if (o->cols < 1 || o->cols > CTL_ROW_WIDEST)
            *why = "an operand whose width is out of range";
        else if ((unsigned)o->at > AT_CHUNK)
            *why = "an operand without an addressing";
        else if (o->at == AT_GATHER && p->split != 1)
            *why = "a gathered operand in a split program";
    }
    for (uint32_t v = 0; !*why && v < p->n; v++) {
        *why = instr_fault(p, v);
        if (*why) break;
        uint32_t op = p->at[v].op;
        if (op != ROW_LOAD && !writes(op)) continue;
        unsigned char *u = &used[p->at[v].i[0]];
        if (writes(op) ? *u != 0 : *u == WRITTEN) *why = "an operand that is written and used otherwise too";
        *u = writes(op) ? WRITTEN : READ;
    }
    return *why == NULL;
}

/* ---- text ---- */
static const char *const at_names[] = {"row", "outer", "fixed", "gather", "chunk"};

void ctl_rowprog_print(const ctl_rowprog *p, ctl_text *out) {
    ctl_text_add(out, "rows split %d sites %u\n", (int)p->split, p->nsites);
    for (uint32_t k = 0; k < p->noperands; k++) {
        const ctl_row_operand *o = &p->operands[k];
        ctl_text_add(out, "  operand %u: %s %s x %lld\n", k, at_names[o->at], ctl_dtype_name(o->dtype),
                     (long long)o->cols);
    }
    for (uint32_t v = 0; v < p->n; v++) {
        const ctl_row_instr *q = &p->at[v];
        ctl_text_add(out, "  %%%u = %s", v, ops[q->op].text);
        if (q->op == ROW_LOAD || writes(q->op)) ctl_text_add(out, " [%lld]", (long long)q->i[0]);
        for (uint32_t k = 0; k < q->nin; k++) ctl_text_add(out, " %%%u", q->in[k]);
        if (q->op == OP_CONST) ctl_text_add(out, " %.9g", q->f);
        if (q->op == OP_CAST) ctl_text_add(out, " to %s", ctl_dtype_name((ctl_dtype)q->dtype));
        if (q->op == OP_COLUMNS) ctl_text_add(out, " %lld .. %lld", (long long)q->i[0], (long long)q->i[1]);
        if (q->op == OP_DROP) ctl_text_add(out, " site %lld p %.9g", (long long)q->i[0], q->f);
        ctl_text_add(out, " : %lld\n", (long long)q->width);
    }
}

/* ---- key ---- */
static void put(ctl_text *out, int64_t number) {
    ctl_text_put(out, (const char *)&number, sizeof number);
}

void ctl_rowprog_key(const ctl_rowprog *p, ctl_text *out) {
    put(out, p->split), put(out, p->nsites), put(out, p->noperands), put(out, p->n);
    for (uint32_t k = 0; k < p->noperands; k++) {
        put(out, p->operands[k].at * 256 + p->operands[k].dtype);
        put(out, p->operands[k].cols);
    }
    for (uint32_t v = 0; v < p->n; v++) {
        const ctl_row_instr *q = &p->at[v];
        put(out, q->op), put(out, q->width), put(out, q->nin);
        for (uint32_t k = 0; k < q->nin; k++) put(out, q->in[k]);
        /* Only what the operation reads: attributes that mean nothing must not tell equal programs apart. */
        if (q->op == OP_CAST) put(out, q->dtype == CTL_BF16);
        if (q->op == ROW_LOAD || writes(q->op) || q->op == OP_DROP || q->op == OP_COLUMNS) put(out, q->i[0]);
        if (q->op == OP_COLUMNS) put(out, q->i[1]);
        if (q->op == OP_CONST || q->op == OP_DROP) ctl_text_put(out, (const char *)&q->f, sizeof q->f);
    }
}

bool ctl_rowprog_sums_columns(const ctl_rowprog *p) {
    for (uint32_t v = 0; v < p->n; v++)
        if (p->at[v].op == ROW_COLSUM) return true;
    return false;
}
