/* test_backend: every operation of ops.def, and its derivative, on the CPU back end - and, as test_cuda_backend, on the CUDA back end
 * with stand-ins -, in every shape of operands, against the reference executor; fused and unfused, one thread and two, bit for bit. A new operation without a case here fails the test.
 * backend_harness.h says what is compared and how closely. Shapes take turns over the operations; with CTL_TEST_LONG in
 * the environment every operation gets every shape, which takes minutes. */
#include "tests/backend_harness.h"

/* Kernels for a GPU are compiled by the host's compiler, one as long as ten of the CPU's: operations that have places are tried in
 * three of them (sanitized, in one), with one element type in each, and what is unfused is test_cuda_backend_random's and test_cuda_backend_edges'. */
#if !defined(CTL_BACKEND_ON_CUDA)
enum { FEW = 0, FEWER = 0 };
#elif !defined(__SANITIZE_ADDRESS__)
enum { FEW = 1, FEWER = 0 };
#else
enum { FEW = 1, FEWER = 1 };
#endif

typedef struct shape {
    int64_t rows, cols;
} shape;

static ctl_node_id one(fixture *f, ctl_op op, ctl_node_id a) { return CTL_B1(f->g, CTL_NONE, op, a); }
static ctl_node_id two(fixture *f, ctl_op op, ctl_node_id a, ctl_node_id b) { return CTL_B2(f->g, CTL_NONE, op, a, b); }
static ctl_node_id number(fixture *f, double x) { return ctl_build_const(f->g, x); }
static ctl_node_id mul(fixture *f, ctl_node_id a, ctl_node_id b) { return two(f, OP_MUL, a, b); }
static ctl_node_id add(fixture *f, ctl_node_id a, ctl_node_id b) { return two(f, OP_ADD, a, b); }
static ctl_node_id rows_of(fixture *f, char kind, int64_t cols) { return state_named(f, leaf_input(f, kind, cols)); }
static ctl_node_id cat(fixture *f, int n, const ctl_node_id *in) { return ctl_build(f->g, CTL_NONE, OP_CAT, n, in, NULL, 0); }

/* A result: read by the loss, as it is and as a state; and kept, every other time. */
static void result_of(fixture *f, ctl_node_id y) {
    bool keep = f->drawn++ % 2 == 0;
    loss_of(f, keep ? y : state_named(f, y));
    if (keep) show(f, y);
}

/* ---- operands of maps ---- */
enum { ROWS, SPLIT, LOAD, UPDATE, PLACES }; /* whole operands: of tokens, of pieces, of weights */

static ctl_node_id whole(fixture *f, const shape *s, int place, char kind) {
    if (place == ROWS) return rows_of(f, kind, s->cols);
    if (place == SPLIT) return fx_with(f, OP_SPLIT, rows_of(f, kind, 3 * s->cols), s->cols, 0);
    return leaf_param(f, kind, 5, s->cols, place == UPDATE);
}
static ctl_node_id row(fixture *f, const shape *s, int place, char kind) { return leaf_param(f, kind, 1, s->cols, place != LOAD); }
static ctl_node_id column(fixture *f, int place, char kind) {
    if (place == ROWS) return rows_of(f, kind, 1);
    if (place == SPLIT) return fx_with(f, OP_REPEAT, rows_of(f, kind, 1), 3, 0);
    return leaf_param(f, kind, 5, 1, place == UPDATE);
}
static ctl_node_id scalar(fixture *f, int place, char kind) { return leaf_param(f, kind, 1, 1, place != LOAD); }

/* Kinds of the operands of an operation: what it is defined for, and comparable in f32. */
static const char *kinds_of(ctl_op op) {
    switch (op) {
    case OP_LOG:
    case OP_SQRT:
    case OP_RSQRT: return "p";
    case OP_DIV: return "xp";
    case OP_POW: return "px";
    case OP_MOD:
    case OP_LT:
    case OP_LE:
    case OP_EQ: return "gg";
    case OP_MAX:
    case OP_MIN: return "gg";
    case OP_SELECT: return "gxx";
    default: return "xxx";
    }
}

static ctl_node_id apply(fixture *f, ctl_op op, uint32_t n, const ctl_node_id *in) {
    if (op == OP_DROP) return ctl_build(f->g, CTL_NONE, op, 1, in, (const int64_t[3]){f->g->drop_sites++}, 0.25);
    if (op == OP_CAST) return ctl_build_cast(f->g, CTL_NONE, in[0], CTL_BF16);
    if (op != OP_MOD) return ctl_build(f->g, CTL_NONE, op, (int)n, in, NULL, 0);
    ctl_node_id divisor = CTL_B3(f->g, CTL_NONE, OP_SELECT, in[1], in[1], number(f, 1.5)); /* not zero */
    return two(f, op, in[0], divisor);
}

/* Operand `which` is whole, the others are spread in every way; and all of them whole. */
static void map_case(fixture *f, ctl_op op, uint32_t n, const shape *s, int place) {
    const char *kind = kinds_of(op);
    ctl_node_id in[3] = {0};
    for (uint32_t k = 0; k < n; k++) in[k] = whole(f, s, place, kind[k]);
    result_of(f, apply(f, op, n, in));
    for (uint32_t which = 0; n > 1 && which < n; which++) {
        for (int spread = 0; spread < 3; spread++) {
            for (uint32_t k = 0; k < n; k++) {
                if (k == which) in[k] = whole(f, s, place, kind[k]);
                else if (spread == 0) in[k] = row(f, s, place, kind[k]);
                else in[k] = spread == 1 ? column(f, place, kind[k]) : scalar(f, place, kind[k]);
            }
            result_of(f, apply(f, op, n, in));
        }
    }
    for (uint32_t k = 0; n > 1 && k < n; k++) in[k] = k ? row(f, s, place, kind[k]) : column(f, place, kind[k]);
    if (n > 1) result_of(f, apply(f, op, n, in)); /* nothing whole */
    in[0] = row(f, s, place, kind[0]);
    if (n == 1) result_of(f, apply(f, op, 1, in));
}

/* ---- the others, one function an operation or two ---- */
static void leaf_case(fixture *f, ctl_op op, const shape *s) {
    ctl_graph *g = f->g;
    ctl_node_id x = rows_of(f, 'x', s->cols), leaf;
    switch (op) {
    case OP_INPUT: leaf = leaf_input(f, 'x', s->cols); break;
    case OP_PARAM: leaf = add(f, leaf_param(f, 'x', 1, s->cols, true), leaf_param(f, 'x', 1, s->cols, false)); break;
    case OP_CONST: leaf = number(f, 0.1); break;
    case OP_INDEX: leaf = CTL_B0(g, CTL_NONE, OP_INDEX, s->cols); break;
    case OP_EYE:
        leaf = fx_matmul(f, x, false, CTL_B0(g, CTL_NONE, OP_EYE, s->cols, 5), false);
        result_of(f, add(f, leaf_param(f, 'x', 5, s->cols, true), CTL_B0(g, CTL_NONE, OP_EYE, 5, s->cols)));
        result_of(f, add(f, leaf_param(f, 'x', s->cols, 1, false), CTL_B0(g, CTL_NONE, OP_EYE, s->cols, s->cols)));
        break;
    default: leaf = CTL_B0(g, CTL_NONE, op, 0); /* POSITION, LENGTH, NORMALISER */
    }
    if (op != OP_EYE && (op == OP_POSITION || op == OP_LENGTH)) result_of(f, fx_with(f, OP_REPEAT, leaf, 3, 0));
    result_of(f, leaf);
    result_of(f, op == OP_EYE ? one(f, OP_SIN, leaf) : mul(f, one(f, OP_SIN, leaf), x));
}

static void reduce_case(fixture *f, ctl_op op, const shape *s, int place) {
    char kind = op == OP_ROWMAX ? 'g' : 'x';
    ctl_node_id x = whole(f, s, place, kind), y = one(f, op, x);
    result_of(f, y);
    result_of(f, mul(f, one(f, OP_TANH, y), x)); /* read back along the row, or by every row */
    result_of(f, one(f, op, row(f, s, place, kind)));
}

static void view_case(fixture *f, ctl_op op, const shape *s, int place) {
    int64_t c = s->cols;
    ctl_node_id x;
    if (place == SPLIT) x = fx_with(f, OP_SPLIT, rows_of(f, 'x', 12 * c), 2 * c, 0);
    else x = place == ROWS ? rows_of(f, 'x', 2 * c) : leaf_param(f, 'x', 6, 2 * c, place == UPDATE);
    ctl_node_id fresh = one(f, OP_TANH, x), y = CTL_NONE, z = CTL_NONE; /* of what is stored, and of what is computed */
    switch (op) {
    case OP_SPLIT: y = fx_with(f, op, x, c, 0), z = fx_with(f, op, fresh, c, 0); break;
    case OP_JOIN:
        if (place == ROWS) x = fx_with(f, OP_SPLIT, x, c, 0), fresh = one(f, OP_TANH, x);
        y = fx_with(f, op, x, place == ROWS ? 2 * c : 4 * c, 0), z = fx_with(f, op, fresh, place == ROWS ? 2 * c : 12 * c, 0);
        break;
    case OP_REPEAT: y = fx_with(f, op, x, 3, 0), z = fx_with(f, op, fresh, 2, 0); break;
    case OP_COLUMNS: y = fx_with(f, op, x, c / 2, c / 2 + c), z = fx_with(f, op, fresh, 2 * c - 1, 2 * c); break;
    case OP_CAT:
        y = cat(f, 3, (const ctl_node_id[]){fresh, fx_with(f, OP_COLUMNS, x, 0, 1), x});
        z = cat(f, 2, (const ctl_node_id[]){leaf_param(f, 'x', 1, c, place == UPDATE), x});
        break;
    default: /* TRANSPOSE, STACK */
        if (place < LOAD) return;
        if (op == OP_TRANSPOSE) y = one(f, op, x), z = one(f, op, fresh);
        if (op == OP_STACK) {
            y = ctl_build(f->g, CTL_NONE, op, 2, (const ctl_node_id[]){x, fresh}, NULL, 0);
            ctl_node_id in[] = {leaf_param(f, 'w', 5, 2 * c, false), x, leaf_param(f, 'w', 1, 2 * c, true)};
            ctl_node_id w = ctl_build(f->g, CTL_NONE, op, 3, in, NULL, 0);
            z = fx_matmul(f, rows_of(f, 'x', 2 * c), false, w, true);
        }
        if (op == OP_TRANSPOSE) result_of(f, one(f, op, leaf_param(f, 'x', 1, c, place == UPDATE)));
    }
    result_of(f, y), result_of(f, z);
    result_of(f, mul(f, one(f, OP_SIN, y), number(f, 3)));
}

static void row_map_case(fixture *f, ctl_op op, const shape *s) {
    ctl_node_id ids = leaf_ids(f, 'i', 6), far = leaf_ids(f, 'i', 1);
    for (int place = LOAD; op == OP_TAKE && place < PLACES; place++) {
        ctl_node_id table = leaf_param(f, 'x', 6, s->cols, place == UPDATE);
        result_of(f, two(f, op, table, ids));
        result_of(f, two(f, op, one(f, OP_SIN, table), ids));
        result_of(f, two(f, op, leaf_param(f, 'x', 1, s->cols, place == UPDATE), far));
    }
    ctl_node_id x = rows_of(f, 'x', s->cols), table;
    table = ctl_build(f->g, CTL_NONE, OP_SCATTER, 2, (const ctl_node_id[]){x, ids}, (const int64_t[3]){9}, 0);
    result_of(f, op == OP_TAKE ? two(f, op, table, leaf_ids(f, 'i', 9)) : table);
    table = ctl_build(f->g, CTL_NONE, OP_SCATTER, 2, (const ctl_node_id[]){one(f, OP_TANH, x), ids}, (const int64_t[3]){6}, 0);
    result_of(f, mul(f, table, leaf_param(f, 'x', 1, s->cols, true)));
}

static void integer_case(fixture *f, ctl_op op, const shape *s) {
    ctl_node_id real = one(f, OP_TOREAL, leaf_ids(f, 'i', 6)), x = rows_of(f, 'x', s->cols);
    if (op == OP_TOREAL) {
        result_of(f, real);
        result_of(f, mul(f, real, x));
        return;
    }
    ctl_node_id halves = two(f, OP_MIN, two(f, OP_MAX, add(f, rows_of(f, 'g', 1), real), number(f, 0)), number(f, 5.5));
    result_of(f, one(f, OP_TOREAL, one(f, op, halves)));
    result_of(f, two(f, OP_TAKE, leaf_param(f, 'x', 7, s->cols, true), one(f, op, halves)));
    result_of(f, one(f, OP_TOREAL, one(f, op, leaf_param(f, 'g', 1, 1, false))));
}

static void product_case(fixture *f, const shape *s) {
    enum { N = 5, M = 9 };
    int64_t c = s->cols;
    ctl_node_id x = rows_of(f, 'x', c), z = rows_of(f, 'x', N), last = x;
    for (int trained = 0; trained < 2; trained++) {
        ctl_node_id w = leaf_param(f, 'w', c, N, trained), v = leaf_param(f, 'w', N, c, trained);
        ctl_node_id bias = leaf_param(f, 'x', 1, N, trained);
        result_of(f, fx_matmul(f, x, false, w, false));
        result_of(f, fx_matmul(f, one(f, OP_TANH, x), false, v, true));
        result_of(f, add(f, add(f, z, fx_matmul(f, x, false, v, true)), bias));
        result_of(f, add(f, add(f, fx_matmul(f, x, false, w, false), bias), fx_matmul(f, rows_of(f, 'x', 3), false, leaf_param(f, 'w', N, 3, trained), true)));
        result_of(f, fx_matmul(f, fx_with(f, OP_SPLIT, rows_of(f, 'x', 2 * c), c, 0), false, w, false));
        for (int turned = 0; turned < 4; turned++) { /* of weights, one changed by weights */
            bool ta = turned & 1, tb = turned & 2;
            ctl_node_id a = leaf_param(f, 'w', ta ? c : M, ta ? M : c, trained);
            ctl_node_id b = leaf_param(f, 'w', tb ? N : c, tb ? c : N, false);
            result_of(f, fx_matmul(f, a, ta, b, tb));
            result_of(f, fx_matmul(f, one(f, OP_SIN, a), ta, b, tb));
        }
        ctl_node_id square = leaf_param(f, 'w', c, c, trained), other = leaf_param(f, 'w', c, c, trained);
        last = add(f, fx_matmul(f, last, false, square, trained), fx_matmul(f, last, false, other, false));
    }
    result_of(f, last);
    result_of(f, fx_matmul(f, x, true, z, false)); /* over rows: a weight of each step */
    result_of(f, fx_matmul(f, fx_with(f, OP_COLUMNS, rows_of(f, 'x', c + 2), 1, c + 1), false, leaf_param(f, 'w', c, N, true), false));
}

static void attend_case(fixture *f, const shape *s) {
    static const int64_t causal[] = {1, 0, 1}, window[] = {0, 0, 3};
    int64_t head = s->cols;
    for (size_t k = 0; k < CTL_COUNT(causal); k++) {
        int64_t kv = k == 1 ? 2 : 1;
        ctl_node_id q = rows_of(f, 'w', 2 * head), keys = rows_of(f, 'x', kv * head), v = rows_of(f, 'x', kv * head);
        if (k == 2) q = one(f, OP_TANH, q), v = one(f, OP_SIN, v);
        ctl_node_id y = ctl_build(f->g, CTL_NONE, OP_ATTEND, 3, (const ctl_node_id[]){q, keys, v}, (const int64_t[3]){head, causal[k], window[k]}, 0);
        result_of(f, y);
        show(f, fx_with(f, OP_PART, y, 1, 0)); /* the rows' log sums */
    }
}

/* Rows of sequences: of what is stored and what is computed, of tokens and of a space with two rows more a sequence. */
static void sequence_case(fixture *f, ctl_op op, const shape *s) {
    ctl_graph *g = f->g;
    int64_t c = s->cols, n = g->sequence;
    int longer = ctl_graph_space(g, 2);
    ctl_node_id x = rows_of(f, 'x', c), z = state_named(f, leaf_rows(f, longer, 'x', c)), q = leaf_rows(f, SPACE_SEQUENCES, 'x', c);
    for (int k = 0; k < 2; k++) {
        int space = k ? longer : SPACE_TOKENS;
        int64_t length = ctl_graph_sequence(g, space);
        ctl_node_id stored = k ? z : x, fresh = one(f, OP_TANH, stored), leaf = CTL_NONE;
        ctl_node_id number = one(f, OP_TOINT, CTL_B0(g, CTL_NONE, OP_SEQUENCE, space)), m = leaf_param(f, 'w', length, length, k);
        switch (op) {
        case OP_PLACE:
        case OP_SEQUENCE:
        case OP_POSITION:
        case OP_LENGTH:
            leaf = CTL_B0(g, CTL_NONE, op, space);
            result_of(f, leaf), result_of(f, mul(f, one(f, OP_SIN, leaf), stored));
            result_of(f, fx_with(f, OP_PICK, leaf, length - 1, 0));
            break;
        case OP_PICK:
            result_of(f, fx_with(f, op, stored, 0, 0)), result_of(f, mul(f, fx_with(f, op, fresh, length - 1, 0), q));
            result_of(f, fx_with(f, op, fx_with(f, OP_SPLIT, leaf_rows(f, space, 'x', 3 * c), c, 0), length / 2, 0));
            result_of(f, fx_matmul(f, fx_with(f, op, stored, 0, 0), false, leaf_param(f, 'w', c, 5, true), false));
            break;
        case OP_TAKE: result_of(f, two(f, op, q, number)), result_of(f, mul(f, two(f, op, one(f, OP_SIN, q), number), stored)); break;
        case OP_SCATTER:
            result_of(f, ctl_build(g, CTL_NONE, op, 2, (const ctl_node_id[]){stored, number}, (const int64_t[3]){0, SPACE_SEQUENCES}, 0));
            break;
        case OP_ATTEND: {
            ctl_node_id in[] = {stored, fresh, stored};
            result_of(f, ctl_build(g, CTL_NONE, op, 3, in, (const int64_t[3]){c, k}, 0));
            break;
        }
        default: /* MIX, MIX_GRAD */
            result_of(f, two(f, OP_MIX, m, stored)), result_of(f, two(f, OP_MIX, one(f, OP_SIN, m), fresh));
            result_of(f, ctl_build(g, CTL_NONE, OP_MIX, 2, (const ctl_node_id[]){m, fresh}, (const int64_t[3]){1}, 0));
        }
    }
    if (op == OP_TAKE) { /* as prepend moves rows */
        ctl_node_id at = two(f, OP_MAX, add(f, CTL_B0(g, CTL_NONE, OP_PLACE, longer), number(f, -2)), number(f, 0));
        at = add(f, at, mul(f, CTL_B0(g, CTL_NONE, OP_SEQUENCE, longer), number(f, (double)n)));
        result_of(f, two(f, op, x, one(f, OP_TOINT, at)));
    }
}

static bool has_sequences(ctl_op op) {
    return op == OP_PLACE || op == OP_SEQUENCE || op == OP_PICK || op == OP_MIX || op == OP_MIX_GRAD;
}

/* Operations of tokens that other rows know too. */
static bool may_have_sequences(ctl_op op) {
    return op == OP_POSITION || op == OP_LENGTH || op == OP_TAKE || op == OP_SCATTER || op == OP_ATTEND;
}

static void head_case(fixture *f, const shape *s) {
    enum { CLASSES = 11 };
    for (int trained = 0; trained < 2; trained++) {
        ctl_node_id x = rows_of(f, 'x', s->cols), w = leaf_param(f, 'w', CLASSES, s->cols, trained);
        ctl_node_id in[] = {x, w, leaf_ids(f, 'l', CLASSES)};
        ctl_node_id y = ctl_build(f->g, CTL_NONE, OP_HEAD, 3, in, NULL, 0);
        result_of(f, y);
        ctl_node_id logits = fx_matmul(f, one(f, OP_TANH, x), false, w, true);
        if (trained) show(f, logits); /* which are read elsewhere too, and are not */
        result_of(f, ctl_build_cross_entropy(f->g, CTL_NONE, logits, in[2]));
    }
}

static void cast_case(fixture *f, const shape *s, int place) {
    map_case(f, OP_CAST, 1, s, place);
    ctl_node_id narrow = ctl_build_cast(f->g, CTL_NONE, whole(f, s, place, 'x'), CTL_BF16);
    result_of(f, mul(f, ctl_build_cast(f->g, CTL_NONE, narrow, CTL_REAL), number(f, 3)));
}

/* Whether the operation is tried in every place by itself. */
static bool has_places(ctl_op op) {
    switch (ctl_op_class_of(op)) {
    case CLASS_MAP: return op != OP_TOREAL && op != OP_TOINT;
    case CLASS_REDUCE:
    case CLASS_COLUMN: return true;
    case CLASS_VIEW: return op != OP_PART;
    default: return false;
    }
}

static void build_case(fixture *f, ctl_op op, uint32_t inputs, const shape *s, int place) {
    if (f->g->sequence) {
        sequence_case(f, op, s);
        return;
    }
    switch (op) {
    case OP_TOREAL:
    case OP_TOINT: integer_case(f, op, s); return;
    case OP_CAST: cast_case(f, s, place); return;
    case OP_TAKE:
    case OP_SCATTER: row_map_case(f, op, s); return;
    case OP_MATMUL: product_case(f, s); return;
    case OP_ATTEND:
    case OP_ATTEND_GRAD: attend_case(f, s); return;
    case OP_PART:
    case OP_HEAD: head_case(f, s); return;
    default: break;
    }
    switch (ctl_op_class_of(op)) {
    case CLASS_LEAF: leaf_case(f, op, s); return;
    case CLASS_MAP: map_case(f, op, inputs, s, place); return;
    case CLASS_REDUCE:
    case CLASS_COLUMN: reduce_case(f, op, s, place); return;
    case CLASS_VIEW: view_case(f, op, s, place); return;
    default: fail_msg("no case for %s", ctl_op_name(op));
    }
}

/* What only says where to round, or not to differentiate, is gone after the round pass. */
static bool vanishes(ctl_op op) { return op == OP_STATE || op == OP_STOP; }

static void test_operations(void **state) {
    (void)state;
#define OP(id, text, cls, least, most) {OP_##id, least},
    static const struct {
        ctl_op op;
        uint32_t inputs;
    } ops[] = {
#include "compiler/graph/ops.def"
    };
#undef OP
    static const shape shapes[] = {{1, 1}, {5, 7}, {64, 16}, {130, 33}, {5, 64}, {130, 1}, {64, 7}, {1, 33}};
    const bool all = getenv("CTL_TEST_LONG") != NULL;
    bench b;
    bench_open(&b);
    const bool few = FEW && !all;
    if (few) b.variants = 1;
    for (size_t k = 0; k < CTL_COUNT(ops); k++) {
        bool present[OP_COUNT] = {0};
        size_t places = has_places(ops[k].op) ? PLACES : 1, variants = 2 * places * CTL_COUNT(shapes);
        for (size_t j = 0; j < variants; j++) {
            size_t which = j / 2 % CTL_COUNT(shapes), place = j / 2 / CTL_COUNT(shapes);
            const shape *s = &shapes[which];
            ctl_dtype compute = j % 2 ? CTL_BF16 : CTL_F32;
            if (!all && which != ((compute == CTL_F32 ? 1 : 3) * k + 3 * place) % CTL_COUNT(shapes)) continue;
            const bool weights_only = ops[k].op == OP_TRANSPOSE || ops[k].op == OP_STACK;
            if (few && FEWER && places > 1 && place != (weights_only ? UPDATE : k % PLACES)) continue;
            if (few && !FEWER && places > 1 && ((k + place + j) % 2 || place == (k % 2 ? LOAD : UPDATE))) continue;
            char name[100];
            snprintf(name, sizeof name, "%s (%zu), %lld x %lld, %s", ctl_op_name(ops[k].op), place, (long long)s->rows,
                     (long long)s->cols, ctl_dtype_name(compute));
            for (int sequences = has_sequences(ops[k].op); sequences < 1 + (has_sequences(ops[k].op) || may_have_sequences(ops[k].op)); sequences++) {
                const int64_t rows = s->rows < 5 ? 8 : s->rows, length = rows % 13 == 0 ? 13 : rows % 4 == 0 ? rows / 4 : rows;
                fixture *f = sequences ? bench_graph(&b, rows, length) : bench_graph(&b, s->rows, 0);
                build_case(f, ops[k].op, ops[k].inputs, s, (int)place);
                if (f->g->loss != CTL_NONE) bench_add(&b, name, compute, present); /* tokens are not turned or stacked */
            }
        }
        if (!present[ops[k].op] && !vanishes(ops[k].op)) fail_msg("no final graph has %s", ctl_op_name(ops[k].op));
    }
    size_t wrong = bench_run(&b);
    bench_close(&b);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_operations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
