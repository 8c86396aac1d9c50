/* account: see account.h. */
#include "compiler/account/rule_set.h"

typedef struct kept { /* a tensor, once for each type that it is kept in */
    ctl_node_id node;
    uint32_t dtype;
} kept;

typedef struct accountant {
    ctl_arena *arena;
    const ctl_graph *g;
    ctl_dtype compute;
    bool *grad;   /* by node: whether backward comes by */
    bool *within; /* by node: part of a kernel whose rule was applied */
    ctl_map seen; /* of kept */
    ctl_node_id value[CTL_RULE_NAMES];
    ctl_node_id inner[64]; /* of the pattern being tried */
    uint32_t ninner;
    bool overflow;
} accountant;

/* The tensor behind views that copy nothing. */
static ctl_node_id tensor(const ctl_graph *g, ctl_node_id id) {
    for (;;) {
        ctl_op op = (ctl_op)g->at[id].op;
        if (op != OP_STATE && op != OP_SPLIT && op != OP_JOIN && op != OP_REPEAT && op != OP_TRANSPOSE &&
            op != OP_STOP)
            return id;
        id = g->at[id].in[0];
    }
}

static ctl_node_id value_of(const ctl_graph *g, ctl_node_id id) {
    while (g->at[id].op == OP_STATE) id = g->at[id].in[0];
    return id;
}

static bool commutes(ctl_op op) {
    return op == OP_ADD || op == OP_MUL || op == OP_MAX || op == OP_MIN;
}

static bool fits(accountant *a, const ctl_pattern *p, ctl_node_id id, bool top) {
    const ctl_node *n;
    id = value_of(a->g, id);
    n = &a->g->at[id];
    switch (p->kind) {
    case PATTERN_ANY:
        return true;
    case PATTERN_NUMBER:
        return n->op == OP_CONST && n->f == p->number;
    case PATTERN_NAME:
        if (a->value[p->name] != CTL_NONE) return a->value[p->name] == id;
        a->value[p->name] = id;
        return true;
    case PATTERN_OP:
        break;
    }
    if (n->op != p->op || n->nin < p->nin) return false;
    if (!top && a->ninner < CTL_COUNT(a->inner)) a->inner[a->ninner++] = id;
    ctl_node_id before[CTL_RULE_NAMES];
    const uint32_t ninner = a->ninner;
    memcpy(before, a->value, sizeof before);
    for (int turn = 0; turn < (commutes(p->op) ? 2 : 1); turn++) {
        bool all = true;
        memcpy(a->value, before, sizeof before);
        a->ninner = ninner;
        for (uint32_t k = 0; all && k < p->nin; k++) all = fits(a, p->in[k], n->in[turn ? 1 - k : k], false);
        if (all) return true;
    }
    return false;
}

static bool rule_fits(accountant *a, const ctl_rule *r, ctl_node_id id) {
    for (int k = 0; k < CTL_RULE_NAMES; k++) a->value[k] = CTL_NONE;
    a->value[0] = id, a->ninner = 0;
    if (!fits(a, r->pattern, id, true)) return false;
    for (int k = 0; k < r->nnames; k++)
        if (r->weights >> k & 1 && a->g->at[a->value[k]].space != SPACE_NONE) return false;
    return true;
}

static uint64_t product(accountant *a, uint64_t x, uint64_t y) {
    if (x && y > UINT64_MAX / x) return a->overflow = true, 0;
    return x * y;
}

static void add(accountant *a, uint64_t *sum, uint64_t more) {
    if (*sum > UINT64_MAX - more)
        a->overflow = true;
    else
        *sum += more;
}

static uint64_t size_of(const accountant *a, ctl_dtype dtype) {
    return ctl_dtype_size(dtype == CTL_REAL ? a->compute : dtype);
}

static uint64_t bytes_of(accountant *a, const ctl_keep *k) {
    const ctl_node *n = &a->g->at[a->value[k->of]];
    if (k->kind == KEEP_VALUE) {
        const ctl_node_id id = tensor(a->g, a->value[k->of]);
        const kept key = {id, (uint32_t)k->dtype};
        n = &a->g->at[id];
        if (n->space == SPACE_NONE || ctl_map_get_bytes(&a->seen, &key, sizeof key))
            return 0; /* weights stay anyway */
        ctl_map_put_bytes(&a->seen, &key, sizeof key, a);
        return product(a, product(a, (uint64_t)n->rows, (uint64_t)n->cols), size_of(a, k->dtype));
    }
    uint64_t count = (uint64_t)n->rows;
    const ctl_node *out = &a->g->at[a->value[0]];
    if (k->kind == KEEP_PER_HEAD)
        count = product(a, count, (uint64_t)(out->i[0] > 0 ? n->cols / out->i[0] : 1));
    if (k->kind == KEEP_PER_ROWS) count = product(a, count, (uint64_t)a->g->at[a->value[k->and_of]].rows);
    return product(a, count, (uint64_t)k->bytes);
}

static void apply(accountant *a, const ctl_rule *r, ctlc_account_line *at, uint64_t *total) {
    for (uint32_t k = 0; k < a->ninner; k++) a->within[a->inner[k]] = true;
    at->name = r->name, at->times++;
    for (uint32_t k = 0; k < r->nkeeps; k++) {
        bool wanted = true;
        for (int name = 0; name < r->nnames; name++)
            if (r->keeps[k].when >> name & 1 && (a->value[name] == CTL_NONE || !a->grad[a->value[name]]))
                wanted = false;
        if (!wanted) continue;
        uint64_t bytes = bytes_of(a, &r->keeps[k]);
        add(a, &at->bytes, bytes), add(a, total, bytes);
    }
}

/* Backward comes by whatever is made of something trained, but for what has no derivative. */
static void find_grads(accountant *a) {
    for (ctl_node_id id = 0; id < a->g->n; id++) {
        const ctl_node *n = &a->g->at[id];
        if (n->op == OP_PARAM) a->grad[id] = a->g->params.at[n->i[0]].trained;
        if (n->op == OP_STOP || n->op == OP_LT || n->op == OP_LE || n->op == OP_EQ || n->op == OP_TOINT)
            continue;
        for (uint32_t k = 0; k < n->nin; k++) a->grad[id] = a->grad[id] || a->grad[n->in[k]];
    }
}

static void count_weights(accountant *a, const ctl_rule_set *rules, ctlc_account *out) {
    for (size_t k = 0; k < a->g->params.n; k++) {
        const ctl_param *p = &a->g->params.at[k];
        const uint64_t n = product(a, (uint64_t)p->rows, (uint64_t)p->cols);
        add(a, p->trained ? &out->trained_parameters : &out->frozen_parameters, n);
    }
    out->weights = product(a, out->frozen_parameters, size_of(a, rules->frozen));
    out->trained = product(a, out->trained_parameters, size_of(a, rules->trained));
    out->gradients = product(a, out->trained_parameters, size_of(a, rules->gradient));
    for (uint32_t k = 0; k < rules->nmoments; k++)
        add(a, &out->moments, product(a, out->trained_parameters, size_of(a, rules->moments[k])));
    add(a, &out->total, out->weights), add(a, &out->total, out->trained), add(a, &out->total, out->gradients);
    add(a, &out->total, out->moments);
}

bool ctl_account_graph(ctl_arena *arena, const ctl_graph *graph, ctl_dtype compute, const ctl_rule_set *rules,
                       ctlc_account *out) {
    accountant a = {.arena = arena,
                    .g = graph,
                    .compute = compute == CTL_REAL ? CTL_F32 : compute,
                    .grad = CTL_NEW_ARRAY(arena, bool, graph->n),
                    .within = CTL_NEW_ARRAY(arena, bool, graph->n),
                    .seen = {.arena = arena}};
    ctlc_account_line *lines = CTL_NEW_ARRAY(arena, ctlc_account_line, rules->rules.n);
    *out = (ctlc_account){.tokens = graph->rows_of[SPACE_TOKENS], .compute = a.compute};
    find_grads(&a);
    count_weights(&a, rules, out);
    for (ctl_node_id id = (ctl_node_id)graph->n; id-- > 0;) {
        if (a.within[id] || !a.grad[id] || graph->at[id].op == OP_STATE) continue;
        for (size_t k = 0; k < rules->rules.n; k++) {
            if (!rule_fits(&a, &rules->rules.at[k], id)) continue;
            apply(&a, &rules->rules.at[k], &lines[k], &out->saved);
            break;
        }
    }
    add(&a, &out->total, out->saved);
    for (size_t k = 0; k < rules->rules.n; k++)
        if (lines[k].times) lines[out->nlines++] = lines[k];
    out->lines = lines;
    return !a.overflow;
}
