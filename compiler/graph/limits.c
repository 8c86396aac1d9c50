/* limits: see limits.h. A formula of the position is computed for one position after the other, up to the longest document that
 * a batch has room for, until it leaves the table. */
#include "compiler/graph/limits.h"

#include <math.h>

#include "base/dtype.h"
#include "compiler/graph/scalar.h"

enum { MOST_VALUES = 32, MOST_POSITIONS = 1 << 20 };

typedef struct formula { /* values that a row's number is made of, each after what it is made of */
    ctl_node_id node[MOST_VALUES];
    double value[MOST_VALUES];
    size_t n;
    int space; /* of the position; SPACE_NONE: there is none in it */
} formula;

static void narrow(int64_t *below, int64_t rows) {
    if (*below == 0 || rows < *below) *below = rows;
}

int64_t ctl_graph_ids_below(const ctl_graph *g, const ctl_input *input) {
    int64_t below = 0;
    for (size_t id = 0; id < g->n && input->is_id; id++) {
        const ctl_node *n = &g->at[id];
        if (n->op == OP_TAKE && n->in[1] == input->node) narrow(&below, g->at[n->in[0]].rows);
        if (n->op == OP_SCATTER && n->in[1] == input->node) narrow(&below, n->rows);
        if (n->op == OP_HEAD && n->in[2] == input->node) narrow(&below, g->at[n->in[1]].rows);
    }
    return below;
}

/* ---- formulas ---- */
static size_t place_of(const formula *f, ctl_node_id id) {
    size_t k = 0;
    while (k < f->n && f->node[k] != id) k++;
    return k;
}

/* What ctl_scalar_compute leaves out: the position, casts, and what stands for its operand. */
static bool compute(const ctl_node *n, const double in[3], double position, double *y) {
    switch (n->op) {
    case OP_CONST: *y = n->f; return true;
    case OP_POSITION: *y = position; return true;
    case OP_TOINT: *y = nearbyint(in[0]); return true;
    case OP_CAST: *y = n->dtype == CTL_BF16 ? (double)ctl_bf16_to_f32(ctl_f32_to_bf16((float)in[0])) : in[0]; return true;
    case OP_TOREAL:
    case OP_STATE:
    case OP_STOP: *y = in[0]; return true;
    default: return ctl_scalar_compute((ctl_op)n->op, in, y);
    }
}

static bool is_understood(const ctl_node *n) {
    double y;
    return n->cols == 1 && compute(n, (const double[3]){0}, 0, &y);
}

/* False where the value is made of anything else than one space's position and numbers. */
static bool find_formula(const ctl_graph *g, ctl_node_id of, formula *f) {
    *f = (formula){.node = {of}, .n = 1, .space = SPACE_NONE};
    for (size_t k = 0; k < f->n; k++) {
        const ctl_node *n = &g->at[f->node[k]];
        if (!is_understood(n)) return false;
        if (n->op == OP_POSITION && f->space != SPACE_NONE && f->space != n->space) return false;
        if (n->op == OP_POSITION) f->space = n->space;
        for (uint32_t j = 0; j < n->nin; j++) {
            if (place_of(f, n->in[j]) < f->n) continue;
            if (f->n == MOST_VALUES) return false;
            f->node[f->n++] = n->in[j];
        }
    }
    for (size_t k = 1; k < f->n; k++) { /* inputs have smaller numbers */
        const ctl_node_id id = f->node[k];
        size_t to = k;
        for (; to > 0 && f->node[to - 1] > id; to--) f->node[to] = f->node[to - 1];
        f->node[to] = id;
    }
    return f->space != SPACE_NONE;
}

static double row_at(const ctl_graph *g, formula *f, double position) {
    for (size_t k = 0; k < f->n; k++) {
        const ctl_node *n = &g->at[f->node[k]];
        double in[3] = {0};
        for (uint32_t j = 0; j < n->nin; j++) in[j] = f->value[place_of(f, n->in[j])];
        compute(n, in, position, &f->value[k]); /* is_understood */
    }
    return f->value[f->n - 1];
}

int64_t ctl_graph_positions_below(const ctl_graph *g) {
    int64_t below = 0;
    for (size_t id = 0; id < g->n; id++) {
        const ctl_node *n = &g->at[id];
        formula f;
        if (n->op != OP_TAKE || !find_formula(g, n->in[1], &f)) continue;
        const double rows = (double)g->at[n->in[0]].rows;
        const int64_t sequence = ctl_graph_sequence(g, f.space), all = sequence ? sequence : g->rows_of[f.space];
        const int64_t most = all < MOST_POSITIONS ? all : MOST_POSITIONS, extra = g->extra[f.space];
        int64_t at = 0;
        for (double row = 0; at < most; at++) {
            row = row_at(g, &f, (double)at);
            if (!(row >= 0 && row < rows)) break;
        }
        if (at < most) narrow(&below, at > extra ? at - extra : 1); /* rows before the tokens have positions too */
    }
    return below;
}
