/* The rules that give every value its type, what they refuse and say, and the verifier against planted
 * faults. */
#include "tests/graph_fixture.h"

#include "compiler/graph/graph_copy.h"
#include "compiler/graph/limits.h"

static void expect(fixture *f, ctl_node_id id, const char *shape, ctl_dtype dtype, ctl_rate rate) {
    if (id == CTL_NONE) fail_msg("%s", f->g->misfit);
    const ctl_node *n = &f->g->at[id];
    assert_string_equal(ctl_node_shape(&f->arena, n), shape);
    assert_int_equal(n->dtype, dtype);
    assert_int_equal(n->rate, rate);
}

/* The sentence with which an operation is refused. */
static void refuse(fixture *f, ctl_node node, const char *sentence) {
    const char *why = "nothing";
    size_t before = f->g->n;
    assert_int_equal(ctl_graph_add(f->g, &node, &why), CTL_NONE);
    assert_string_equal(why, sentence);
    assert_int_equal(f->g->n, before);
}
#define NODE(o, n, ...)                                                                                      \
    (ctl_node) {                                                                                             \
        .op = (o), .nin = (n), .in = (ctl_node_id[]) { __VA_ARGS__ }                                         \
    }

static void test_types(void **state) {
    (void)state;
    fixture f;
    fx_open(&f, 8, 4);
    ctl_graph *g = f.g;
    g->drop_sites = 1;
    ctl_node_id x = fx_input(&f, "x", 12, false), ids = fx_input(&f, "ids", 1, true);
    ctl_node_id w = fx_param(&f, "w", 6, 12, false), t = fx_param(&f, "t", 1, 12, true);
    expect(&f, x, "tokens[8] x 12", CTL_REAL, RATE_STEP);
    expect(&f, ids, "tokens[8] x 1", CTL_I32, RATE_STEP);
    expect(&f, w, "[6 x 12]", CTL_REAL, RATE_LOAD);
    expect(&f, t, "[1 x 12]", CTL_REAL, RATE_UPDATE);
    expect(&f, CTL_B0(g, CTL_NONE, OP_INDEX, 5), "[1 x 5]", CTL_REAL, RATE_LOAD);
    expect(&f, CTL_B0(g, CTL_NONE, OP_EYE, 2, 3), "[2 x 3]", CTL_REAL, RATE_LOAD);
    expect(&f, CTL_B0(g, CTL_NONE, OP_POSITION, 0), "tokens[8] x 1", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B0(g, CTL_NONE, OP_NORMALISER, 0), "[1 x 1]", CTL_REAL, RATE_STEP);
    expect(&f, ctl_build_const(g, 2), "[1 x 1]", CTL_REAL, RATE_LOAD);
    expect(&f, CTL_B2(g, CTL_NONE, OP_ADD, x, t), "tokens[8] x 12", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B2(g, CTL_NONE, OP_MUL, t, x), "tokens[8] x 12", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B2(g, CTL_NONE, OP_MUL, w, t), "[6 x 12]", CTL_REAL, RATE_UPDATE);
    expect(&f, CTL_B1(g, CTL_NONE, OP_SUM, x), "tokens[8] x 1", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B1(g, CTL_NONE, OP_COLSUM, x), "[1 x 12]", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B1(g, CTL_NONE, OP_SUM, w), "[6 x 1]", CTL_REAL, RATE_LOAD);
    ctl_node_id split = fx_with(&f, OP_SPLIT, x, 3, 0);
    expect(&f, split, "tokens[8 x 4] x 3", CTL_REAL, RATE_STEP);
    expect(&f, fx_with(&f, OP_JOIN, split, 6, 0), "tokens[8 x 2] x 6", CTL_REAL, RATE_STEP);
    expect(&f, fx_with(&f, OP_JOIN, split, 12, 0), "tokens[8] x 12", CTL_REAL, RATE_STEP);
    expect(&f,
           CTL_B2(g, CTL_NONE, OP_ADD, split, fx_with(&f, OP_REPEAT, CTL_B1(g, CTL_NONE, OP_SUM, x), 4, 0)),
           "tokens[8 x 4] x 3", CTL_REAL, RATE_STEP);
    ctl_node_id half = ctl_build_cast(g, CTL_NONE, x, CTL_BF16),
                turned = CTL_B1(g, CTL_NONE, OP_TRANSPOSE, w);
    expect(&f, half, "tokens[8] x 12", CTL_BF16, RATE_STEP);
    expect(&f, fx_with(&f, OP_COLUMNS, half, 2, 7), "tokens[8] x 5", CTL_BF16, RATE_STEP);
    expect(&f, CTL_B1(g, CTL_NONE, OP_NEG, half), "tokens[8] x 12", CTL_REAL, RATE_STEP);
    expect(&f, ctl_build_cast(g, CTL_NONE, half, CTL_REAL), "tokens[8] x 12", CTL_REAL, RATE_STEP);
    expect(&f, turned, "[12 x 6]", CTL_REAL, RATE_LOAD);
    expect(&f, CTL_B2(g, CTL_NONE, OP_STACK, w, t), "[7 x 12]", CTL_REAL, RATE_UPDATE);
    expect(&f, CTL_B2(g, CTL_NONE, OP_CAT, t, x), "tokens[8] x 24", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B2(g, CTL_NONE, OP_TAKE, w, ids), "tokens[8] x 12", CTL_REAL, RATE_STEP);
    expect(&f, ctl_build(g, CTL_NONE, OP_SCATTER, 2, (const ctl_node_id[]){x, ids}, (const int64_t[3]){5}, 0),
           "[5 x 12]", CTL_REAL, RATE_STEP);
    expect(&f, fx_matmul(&f, x, false, w, true), "tokens[8] x 6", CTL_REAL, RATE_STEP);
    expect(&f, fx_matmul(&f, x, true, x, false), "[12 x 12]", CTL_REAL, RATE_STEP);
    expect(&f, fx_matmul(&f, w, false, turned, false), "[6 x 6]", CTL_REAL, RATE_LOAD);
    expect(&f, fx_matmul(&f, turned, true, w, true), "[6 x 6]", CTL_REAL, RATE_LOAD);
    ctl_node_id q[] = {x, fx_with(&f, OP_COLUMNS, x, 0, 6), fx_with(&f, OP_COLUMNS, x, 6, 12)};
    ctl_node_id o = ctl_build(g, CTL_NONE, OP_ATTEND, 3, q, (const int64_t[3]){3, 1}, 0);
    expect(&f, o, "tokens[8] x 12", CTL_REAL, RATE_STEP);
    expect(&f, fx_with(&f, OP_PART, o, 1, 0), "tokens[8] x 4", CTL_REAL, RATE_STEP);
    ctl_node_id in[] = {x, w, ids}, head = ctl_build(g, CTL_NONE, OP_HEAD, 3, in, (const int64_t[3]){2}, 0);
    expect(&f, head, "[1 x 1]", CTL_REAL, RATE_STEP);
    expect(&f, fx_with(&f, OP_PART, head, 2, 0), "[6 x 12]", CTL_REAL, RATE_STEP);
    expect(&f, ctl_build(g, CTL_NONE, OP_DROP, 1, &w, NULL, 0.5), "[6 x 12]", CTL_REAL, RATE_STEP);
    fx_verify(&f, g);
    fx_close(&f);
}

static void test_what_is_refused(void **state) {
    (void)state;
    fixture f;
    fx_open(&f, 8, 4);
    ctl_graph *g = f.g;
    CTL_PUSH(
        g->arena, &g->inputs,
        (ctl_input){.name = "s", .space = SPACE_SEQUENCES, .cols = 4, .node = CTL_NONE, .grad = CTL_NONE});
    ctl_node_id s = CTL_B0(g, CTL_NONE, OP_INPUT, 0);
    g->inputs.at[0].node = s;
    ctl_node_id x = fx_input(&f, "x", 4, false), y = fx_input(&f, "y", 6, false);
    ctl_node_id ids = fx_input(&f, "ids", 1, true), w = fx_param(&f, "w", 5, 4, false),
                v = fx_param(&f, "v", 3, 4, false);
    ctl_node_id split = fx_with(&f, OP_SPLIT, x, 2, 0), half = ctl_build_cast(g, CTL_NONE, x, CTL_BF16);
    refuse(&f, NODE(OP_ADD, 2, x, y),
           "add of tokens[8] x 4 and tokens[8] x 6: the numbers of columns differ and neither is 1");
    refuse(&f, NODE(OP_MUL, 2, x, s),
           "mul of tokens[8] x 4 and sequences[2] x 4: two row spaces do not meet");
    refuse(&f, NODE(OP_SUB, 2, split, x),
           "sub of tokens[8 x 2] x 2 and tokens[8] x 4: rows split differently do not meet");
    refuse(&f, NODE(OP_MAX, 2, x, w),
           "max of tokens[8] x 4 and [5 x 4]: a weight meets rows only when it has one row");
    refuse(&f, NODE(OP_ADD, 2, w, v),
           "add of [5 x 4] and [3 x 4]: the numbers of rows differ and neither is 1");
    refuse(&f, NODE(OP_EXP, 1, ids), "exp takes real numbers; its input 1 is of integers");
    refuse(&f, NODE(OP_TOREAL, 1, x), "toreal takes integers");
    refuse(&f, NODE(OP_ADD, 1, x), "add takes 2 inputs, not 1");
    refuse(&f, NODE(OP_CAT, 0, 0), "cat takes 1 or more inputs, not 0");
    refuse(&f, NODE(OP_NEG, 1, 999), "neg reads a value that is not in the graph");
    ctl_node drop = NODE(OP_DROP, 1, x);
    refuse(&f, drop, "drop: site 0 is not one of the graph's 0");
    drop.f = 1;
    refuse(&f, drop, "drop: the probability 1 is not in [0, 1)");
    ctl_node cast = NODE(OP_CAST, 1, x);
    cast.dtype = CTL_F16;
    refuse(&f, cast, "cast to f16: values are kept as bf16 or real");
    ctl_node view = NODE(OP_SPLIT, 1, y);
    view.i[0] = 4;
    refuse(&f, view, "split of tokens[8] x 6: 6 columns are no whole number of pieces of 4");
    view = NODE(OP_JOIN, 1, split);
    view.i[0] = 8;
    refuse(&f, view, "join of tokens[8 x 2] x 2: its rows do not make whole rows of 8 columns");
    view = NODE(OP_COLUMNS, 1, x);
    view.i[0] = 2, view.i[1] = 5;
    refuse(&f, view, "columns 2..5 of tokens[8] x 4: not within it");
    view = NODE(OP_REPEAT, 1, x);
    refuse(&f, view, "repeat of tokens[8] x 4: 0 times");
    view.i[0] = INT64_MAX / 2;
    refuse(&f, view, "repeat of tokens[8] x 4: too many rows");
    refuse(&f, NODE(OP_TRANSPOSE, 1, x), "transpose is of weights, not of tokens[8] x 4");
    refuse(&f, NODE(OP_CAT, 2, x, s), "cat of tokens[8] x 4 and sequences[2] x 4: the rows differ");
    refuse(&f, NODE(OP_CAT, 2, x, half),
           "cat of tokens[8] x 4 and tokens[8] x 4: the pieces are real and bf16");
    refuse(&f, NODE(OP_STACK, 2, w, x), "stack is of weights, not of tokens[8] x 4");
    refuse(&f, NODE(OP_TAKE, 2, w, x), "take looks up by integers, not by real numbers");
    refuse(&f, NODE(OP_TAKE, 2, split, ids),
           "take of tokens[8 x 2] x 2 by tokens[8] x 1: split rows are joined first");
    refuse(&f, NODE(OP_SCATTER, 2, split, ids),
           "scatter of tokens[8 x 2] x 2 by tokens[8] x 1: split rows are joined first");
    refuse(&f, NODE(OP_SCATTER, 2, s, ids),
           "scatter of sequences[2] x 4 by tokens[8] x 1: one index for each row is needed");
    refuse(&f, NODE(OP_MATMUL, 2, x, w), "matmul of tokens[8] x 4 and [5 x 4]: 4 columns meet 5 rows");
    refuse(&f, NODE(OP_MATMUL, 2, w, x), "matmul of [5 x 4] and tokens[8] x 4: 4 columns meet 8 rows");
    ctl_node product = NODE(OP_MATMUL, 2, x, y);
    product.i[1] = 1;
    refuse(&f, product, "matmul of tokens[8] x 4 and tokens[8] x 6 turned: 4 columns meet 6 rows");
    product = NODE(OP_MATMUL, 2, x, x);
    product.i[1] = 1;
    refuse(&f, product,
           "matmul of tokens[8] x 4 and tokens[8] x 4 turned: what rows are multiplied by must be a weight");
    product = NODE(OP_MATMUL, 2, half, w);
    product.i[1] = 1;
    refuse(&f, product, "matmul of bf16 and real numbers");
    ctl_node attend = NODE(OP_ATTEND, 3, x, x, x);
    attend.i[0] = 3;
    refuse(&f, attend,
           "attend of q tokens[8] x 4 and k tokens[8] x 4: columns are no whole heads of 3, or q's heads no "
           "multiple of k's");
    attend = NODE(OP_ATTEND, 3, x, y, y);
    attend.i[0] = 2;
    refuse(&f, attend,
           "attend of q tokens[8] x 4 and k tokens[8] x 6: columns are no whole heads of 2, or q's heads no "
           "multiple of k's");
    refuse(&f, NODE(OP_ATTEND, 3, s, s, s),
           "attend works on the tokens of documents, not on sequences[2] x 4");
    refuse(&f, NODE(OP_HEAD, 3, x, w, x), "head looks up by integers, not by real numbers");
    refuse(&f, NODE(OP_HEAD, 3, y, w, ids),
           "head of tokens[8] x 6 and [5 x 4]: the weight is [classes x columns]");
    ctl_node_id head = CTL_B3(g, CTL_NONE, OP_HEAD, x, w, ids);
    ctl_node part = NODE(OP_PART, 1, head);
    part.i[0] = 1;
    refuse(&f, part, "head has no part 1"); /* its bit is not set */
    ctl_node param = {.op = OP_PARAM, .i = {7}};
    refuse(&f, param, "parameter 7 is not in the graph's list");
    CTL_PUSH(g->arena, &g->params,
             (ctl_param){.name = "t",
                         .rows = 1,
                         .cols = 1,
                         .ndims = 1,
                         .trained = true,
                         .node = CTL_NONE,
                         .grad = CTL_NONE});
    param = (ctl_node){.op = OP_PARAM, .dtype = CTL_BF16, .i = {2}};
    refuse(&f, param, "t is trained and so not kept in bf16");
    g->params.n--;
    fx_verify(&f, g);
    fx_close(&f);
}

static void test_sequences(void **state) {
    (void)state;
    fixture f;
    fx_open(&f, 8, 4);
    ctl_graph *g = f.g;
    int longer = ctl_graph_space(g, 2);
    assert_int_equal(longer, SPACE_PREPENDED);
    assert_int_equal(ctl_graph_space(g, 2), longer);
    assert_int_equal(ctl_graph_space(g, 0), SPACE_TOKENS);
    assert_int_equal(g->rows_of[longer], 12);
    assert_int_equal(ctl_graph_sequence(g, longer), 6);
    assert_int_equal(ctl_graph_sequence(g, SPACE_SEQUENCES), 0);
    ctl_node_id x = fx_input(&f, "x", 4, false), z = fx_input_of(&f, longer, "z", 4, false), s = fx_input_of(&f, SPACE_SEQUENCES, "s", 4, false);
    ctl_node_id ids = fx_input(&f, "ids", 1, true), w = fx_param(&f, "w", 4, 4, false), split = fx_with(&f, OP_SPLIT, x, 2, 0);
    expect(&f, z, "prepended[12] x 4", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B0(g, CTL_NONE, OP_PLACE, 0), "tokens[8] x 1", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B0(g, CTL_NONE, OP_LENGTH, longer), "prepended[12] x 1", CTL_REAL, RATE_STEP);
    expect(&f, fx_with(&f, OP_PICK, x, 3, 0), "sequences[2] x 4", CTL_REAL, RATE_STEP);
    expect(&f, fx_with(&f, OP_PICK, split, 0, 0), "sequences[2 x 2] x 2", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B2(g, CTL_NONE, OP_TAKE, s, ids), "tokens[8] x 4", CTL_REAL, RATE_STEP);
    expect(&f, ctl_build(g, CTL_NONE, OP_SCATTER, 2, (const ctl_node_id[]){x, ids}, (const int64_t[3]){0, SPACE_SEQUENCES}, 0),
           "sequences[2] x 4", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B2(g, CTL_NONE, OP_MIX, w, x), "tokens[8] x 4", CTL_REAL, RATE_STEP);
    expect(&f, CTL_B2(g, CTL_NONE, OP_MIX_GRAD, z, z), "[6 x 6]", CTL_REAL, RATE_STEP);
    expect(&f, ctl_build(g, CTL_NONE, OP_ATTEND, 3, (const ctl_node_id[]){z, z, z}, (const int64_t[3]){2}, 0), "prepended[12] x 4",
           CTL_REAL, RATE_STEP);
    refuse(&f, NODE(OP_ADD, 2, x, z), "add of tokens[8] x 4 and prepended[12] x 4: two row spaces do not meet");
    refuse(&f, NODE(OP_PICK, 1, s), "pick works on sequences of one length, not on sequences[2] x 4");
    refuse(&f, NODE(OP_PICK, 1, ids), "pick is of real numbers");
    ctl_node pick = NODE(OP_PICK, 1, z);
    pick.i[0] = 6;
    refuse(&f, pick, "pick of row 6 of sequences of 6 rows");
    refuse(&f, NODE(OP_MIX, 2, w, z),
           "mix of [4 x 4] and prepended[12] x 4: sequences of 6 rows are mixed by a weight [6 x 6]");
    refuse(&f, NODE(OP_MIX, 2, w, split), "mix of tokens[8 x 2] x 2: split rows are joined first");
    refuse(&f, NODE(OP_MIX_GRAD, 2, x, z), "mix_grad of tokens[8] x 4 and prepended[12] x 4: they differ");
    ctl_node scatter = NODE(OP_SCATTER, 2, x, ids);
    scatter.i[1] = SPACE_COUNT;
    refuse(&f, scatter, "scatter into rows of space 7");
    ctl_node place = {.op = OP_POSITION, .i = {SPACE_SEQUENCES}};
    refuse(&f, place, "position of space 2, which has no documents");
    place.i[0] = longer + 1;
    refuse(&f, place, "position of space 4, which has no documents");
    fx_verify(&f, g);
    for (int64_t extra = 3; extra < 2 + CTL_MOST_PREPENDED; extra++) assert_int_not_equal(ctl_graph_space(g, extra), SPACE_NONE);
    assert_int_equal(ctl_graph_space(g, 100), SPACE_NONE); /* too many */
    fx_close(&f);
    fx_open(&f, 8, 0); /* packed */
    assert_int_equal(ctl_graph_space(f.g, 1), SPACE_NONE);
    refuse(&f, (ctl_node){.op = OP_SEQUENCE}, "sequence needs sequences of one length");
    fx_close(&f);
}

static void test_entries(void **state) {
    (void)state;
    fixture f;
    fx_open(&f, 8, 4);
    ctl_graph *g = f.g;
    ctl_node_id x = fx_input(&f, "x", 4, false), w = fx_param(&f, "w", 1, 4, true),
                y = CTL_B2(g, CTL_NONE, OP_MUL, x, w);
    ctl_node_id in[] = {x, x, x}, o = ctl_build(g, CTL_NONE, OP_ATTEND, 3, in, (const int64_t[3]){2}, 0);
    g->entry = ENTRY_BACKWARD;
    ctl_node_id back = CTL_B2(g, CTL_NONE, OP_MUL, y, x), lse = fx_with(&f, OP_PART, o, 1, 0);
    ctl_node_id scaled = CTL_B2(g, CTL_NONE, OP_MUL, w, w);
    assert_int_equal(g->at[x].entry, ENTRY_FORWARD); /* leaves belong to all */
    assert_int_equal(g->at[y].entry, ENTRY_FORWARD);
    assert_int_equal(g->at[back].entry, ENTRY_BACKWARD);
    assert_int_equal(g->at[lse].entry, ENTRY_FORWARD); /* whoever asks for it */
    assert_int_equal(g->at[scaled].entry, ENTRY_FORWARD);
    g->entry = ENTRY_EVALUATE;
    assert_int_equal(g->at[CTL_B2(g, CTL_NONE, OP_ADD, x, scaled)].entry, ENTRY_EVALUATE);
    refuse(&f, NODE(OP_NEG, 1, y), "neg of entry evaluate reads a value of entry forward");
    g->entry = ENTRY_FORWARD;
    refuse(&f, NODE(OP_NEG, 1, back), "neg of entry forward reads a value of entry backward");
    fx_verify(&f, g);
    fx_close(&f);
}

static void test_builders_pass_misfits_on(void **state) {
    (void)state;
    fixture f;
    const char *why;
    fx_open(&f, 8, 4);
    ctl_node_id x = fx_input(&f, "x", 4, false), y = fx_input(&f, "y", 6, false);
    ctl_node_id sum = CTL_B2(f.g, x, OP_ADD, x, y);
    assert_int_equal(sum, CTL_NONE);
    assert_int_equal(CTL_B1(f.g, x, OP_NEG, sum), CTL_NONE);
    assert_false(ctl_graph_verify(f.g, &f.arena, &why));
    assert_string_equal(
        why, "a pass built what does not fit: add of tokens[8] x 4 and tokens[8] x 6: the numbers of "
             "columns differ and neither is 1");
    fx_close(&f);
}

/* ---- planted faults ---- */
static ctl_graph *
sound(fixture *f) { /* 0 x, 1 w, 2 b, 3 ids, 4 x w', 5 + b, 6 head, 7 to 9 first b, 10 d b */
    fx_open(f, 8, 4);
    ctl_graph *g = f->g;
    ctl_node_id x = fx_input(f, "x", 4, false), w = fx_param(f, "w", 6, 4, false),
                b = fx_param(f, "b", 1, 6, true);
    ctl_node_id ids = fx_input(f, "ids", 1, true), p = fx_matmul(f, x, false, w, true),
                y = CTL_B2(g, CTL_NONE, OP_ADD, p, b);
    g->loss = ctl_build(g, CTL_NONE, OP_HEAD, 3, (const ctl_node_id[]){x, w, ids}, NULL, 0);
    g->params.at[1].init = INIT_VALUE;
    ctl_node_id column = fx_with(f, OP_COLUMNS, w, 0, 1), eye = CTL_B0(g, CTL_NONE, OP_EYE, 6, 6);
    g->params.at[1].init_node = fx_matmul(f, column, true, eye, false);
    g->entry = ENTRY_BACKWARD;
    g->params.at[1].grad = CTL_B1(g, CTL_NONE, OP_COLSUM, y);
    g->entry = ENTRY_FORWARD;
    fx_output(f, "loss", g->loss);
    fx_output(f, "y", y);
    fx_verify(f, g);
    return g;
}

static void caught(fixture *f, const char *sentence) {
    const char *why = NULL;
    if (ctl_graph_verify(f->g, &f->arena, &why)) fail_msg("not caught: %s", sentence);
    assert_string_equal(why, sentence);
    fx_close(f);
}

static void test_planted_faults(void **state) {
    (void)state;
    fixture f;
    ctl_graph *g;
    enum { X, W, B, IDS, P, Y, LOSS };
#define PLANT(fault, sentence) g = sound(&f), fault, caught(&f, sentence)
    PLANT(g->at[Y].op = OP_COUNT, "%5 has no known operation");
    PLANT(g->at[Y].nin = 1, "%5 = add has 1 inputs");
    PLANT(g->at[Y].in[0] = Y, "%5 = add reads %5, which does not come before it");
    PLANT(g->at[Y].in[1] = CTL_NONE, "%5 = add reads %4294967295, which does not come before it");
    PLANT(g->at[Y].cols = 7, "%5 = add is tokens[8] x 7 where the rules give tokens[8] x 6");
    PLANT(g->at[Y].rows = 9, "%5 = add is tokens[9] x 6 where the rules give tokens[8] x 6");
    PLANT(g->at[Y].split = 2, "%5 = add is tokens[4 x 2] x 6 where the rules give tokens[8] x 6");
    PLANT(g->at[Y].space = SPACE_NONE, "%5 = add is [8 x 6] where the rules give tokens[8] x 6");
    PLANT(g->at[Y].dtype = CTL_BF16, "%5 = add is bf16 where the rules give real");
    PLANT(g->at[Y].rate = RATE_UPDATE, "%5 = add has rate 1 where the rules give 2");
    PLANT(g->at[Y].entry = 3, "%5 = add has no known entry");
    PLANT(g->at[P].entry = ENTRY_BACKWARD, "%5: add of entry forward reads a value of entry backward");
    PLANT(g->at[X].entry = ENTRY_BACKWARD, "%0 = input has entry 1 where the rules give 0");
    PLANT(g->at[P].i[1] = 0, "%4: matmul of tokens[8] x 4 and [6 x 4]: 4 columns meet 6 rows");
    PLANT(g->at[W].i[0] = 5, "%1: parameter 5 is not in the graph's list");
    PLANT(g->at[X].i[0] = -1, "%0: input -1 is not in the graph's list");
    PLANT(g->params.at[0].node = Y, "%1 = param: w has another node");
    PLANT(g->inputs.at[0].node = CTL_NONE, "%0 = input: x has another node");
    PLANT(g->params.at[0].rows = 5, "%1 = param is [6 x 4] where the rules give [5 x 4]");
    PLANT(g->inputs.at[0].cols = 5, "%0 = input is tokens[8] x 4 where the rules give tokens[8] x 5");
    PLANT(g->params.at[0].trained = true, "%1 = param has rate 0 where the rules give 1");
    PLANT(g->params.at[0].ndims = 1, "parameter w: 6 x 4 with 1 dimensions");
    PLANT(g->params.at[0].grad = W, "w is frozen and has a gradient");
    PLANT(g->params.at[1].grad = W, "the gradient of b is [6 x 4], not 1 x 6");
    PLANT(g->params.at[1].grad = 1000, "the gradient of b is %1000, which is not in the graph");
    PLANT(g->inputs.at[0].grad = P, "the gradient of x is tokens[8] x 6, not 8 x 4");
    PLANT(g->inputs.at[1].grad = IDS, "ids holds integers and has a gradient");
    PLANT(g->params.at[1].init_node = CTL_NONE, "parameter b begins from a value that is not in the graph");
    PLANT(g->params.at[1].init_node = B,
          "parameter b, 1 x 6, begins from [1 x 6], which does not fit or changes");
    PLANT(g->outputs.at[0].node = CTL_NONE, "output loss is not in the graph");
    PLANT(g->outputs.at[1].node = g->params.at[1].grad, "output y belongs to another entry than forward");
    PLANT(g->outputs.at[1].evaluate = X, "output y is tokens[8] x 6, evaluated tokens[8] x 4");
    PLANT(g->outputs.at[1].evaluate = Y, "output y, evaluated, belongs to another entry");
    PLANT(g->loss = Y, "the loss is tokens[8] x 6, not one number");
    PLANT(g->loss = 77, "the loss is not in the graph");
    (void)LOSS;
#undef PLANT
}

/* ---- printing and copying ---- */
static const char *printed(fixture *f, const ctl_graph *g) {
    ctl_text out = {.arena = &f->arena};
    ctl_graph_print(g, &out);
    return out.at;
}

static const char sound_text[] = "%0 = input {x} : tokens[8] x 4 real forward\n"
                                 "%1 = param {w} : [6 x 4] real load\n"
                                 "%2 = param {b, trained} : [1 x 6] real update\n"
                                 "%3 = input {ids} : tokens[8] x 1 i32 forward\n"
                                 "%4 = matmul %0 %1 {ta=0 tb=1} : tokens[8] x 6 real forward\n"
                                 "%5 = add %4 %2 : tokens[8] x 6 real forward  # net.y\n"
                                 "%6 = head %0 %1 %3 {dx=0 dw=0} : [1 x 1] real forward\n"
                                 "%7 = columns %1 {0..1} : [6 x 1] real load\n"
                                 "%8 = eye : [6 x 6] real load\n"
                                 "%9 = matmul %7 %8 {ta=1 tb=0} : [1 x 6] real load\n"
                                 "%10 = colsum %5 : [1 x 6] real backward\n"
                                 "param b: gradient %10, begins as %9\n"
                                 "output loss: %6, evaluated -\n"
                                 "output y: %5, evaluated -\n";

static void test_print_and_copy(void **state) {
    (void)state;
    fixture f;
    ctl_graph *g = sound(&f);
    g->at[5].path = "net.y";
    assert_string_equal(printed(&f, g), sound_text);
    ctl_graph_copy *c = ctl_copy_begin(g);
    for (size_t id = 0; id < g->n; id++) ctl_copy_node(c, (ctl_node_id)id);
    ctl_graph *copy = ctl_copy_end(c);
    fx_verify(&f, copy);
    assert_string_equal(printed(&f, copy), sound_text);
    assert_int_equal(copy->sequence, 4);
    assert_int_equal(copy->rows_of[SPACE_TOKENS], 8);
    fx_close(&f);
}

static void test_sweep(void **state) {
    (void)state;
    fixture f;
    ctl_graph *g = sound(&f);
    g->at[5].path = "net.y";
    CTL_B1(g, CTL_NONE, OP_EXP, 4);
    ctl_node_id unused = fx_param(&f, "unused", 2, 2, false);
    CTL_B1(g, CTL_NONE, OP_NEG, unused);
    ctl_graph *swept = ctl_graph_sweep(g);
    fx_verify(&f, swept);
    assert_string_equal(printed(&f, swept), sound_text);
    assert_int_equal(swept->params.n, 3);
    assert_int_equal(swept->params.at[2].node, CTL_NONE);
    fx_close(&f);
}

/* A pass that puts something else in a node's place. */
static void test_replacing(void **state) {
    (void)state;
    fixture f;
    ctl_graph *g = sound(&f);
    ctl_graph_copy *c = ctl_copy_begin(g);
    for (size_t id = 0; id < g->n; id++) {
        ctl_copy_node(c, (ctl_node_id)id);
        if (id == 2)
            c->map[id] = CTL_B1(c->out, c->map[id], OP_STOP, c->map[id]); /* readers of b read stop(b) */
    }
    ctl_graph *out = ctl_copy_end(c);
    fx_verify(&f, out);
    assert_int_equal(out->params.at[1].node, 2);
    assert_int_equal(out->at[out->outputs.at[1].node].in[1], 3);
    fx_close(&f);
}

/* ---- limits ---- */
/* A row of the table for each position that f makes of it: the first position that leads out. */
static int64_t positions_below(int64_t tokens, int64_t sequence, int64_t rows, ctl_node_id (*f)(ctl_graph *g, ctl_node_id position)) {
    fixture x;
    fx_open(&x, tokens, sequence);
    const ctl_node_id table = fx_param(&x, "t", rows, 2, false);
    const ctl_node_id at = CTL_B1(x.g, CTL_NONE, OP_TOINT, f(x.g, CTL_B0(x.g, CTL_NONE, OP_POSITION, SPACE_TOKENS)));
    fx_output(&x, "y", CTL_B2(x.g, CTL_NONE, OP_TAKE, table, at));
    fx_verify(&x, x.g);
    const int64_t below = ctl_graph_positions_below(x.g);
    fx_close(&x);
    return below;
}
static ctl_node_id number(ctl_graph *g, double x) { return ctl_build_const(g, x); }
static ctl_node_id itself(ctl_graph *g, ctl_node_id p) { return (void)g, p; }
static ctl_node_id two_on(ctl_graph *g, ctl_node_id p) { return CTL_B2(g, p, OP_ADD, p, number(g, 2)); }
static ctl_node_id back(ctl_graph *g, ctl_node_id p) { return CTL_B2(g, p, OP_SUB, number(g, 3), p); }
static ctl_node_id clamped(ctl_graph *g, ctl_node_id p) { return CTL_B2(g, p, OP_MIN, p, number(g, 7)); }
static ctl_node_id halves(ctl_graph *g, ctl_node_id p) {
    return CTL_B2(g, p, OP_SUB, CTL_B2(g, p, OP_DIV, p, number(g, 2)), CTL_B2(g, p, OP_MOD, CTL_B2(g, p, OP_DIV, p, number(g, 2)), number(g, 1)));
}
static ctl_node_id of_length(ctl_graph *g, ctl_node_id p) {
    return CTL_B2(g, p, OP_SUB, CTL_B0(g, p, OP_LENGTH, SPACE_TOKENS), p);
}

static void test_limits(void **state) {
    (void)state;
    assert_int_equal(positions_below(32, 0, 12, itself), 12);
    assert_int_equal(positions_below(12, 0, 12, itself), 0); /* no document of a batch is longer */
    assert_int_equal(positions_below(13, 0, 12, itself), 12);
    assert_int_equal(positions_below(32, 16, 12, itself), 12);
    assert_int_equal(positions_below(32, 8, 12, itself), 0);
    assert_int_equal(positions_below(32, 0, 12, two_on), 10);
    assert_int_equal(positions_below(32, 0, 12, back), 4);
    assert_int_equal(positions_below(32, 0, 12, clamped), 0);
    assert_int_equal(positions_below(32, 0, 6, clamped), 6);
    assert_int_equal(positions_below(32, 0, 12, halves), 24);
    assert_int_equal(positions_below(32, 0, 12, of_length), 0); /* not of the position alone */
    fixture f;
    fx_open(&f, 8, 4);
    const ctl_node_id ids = fx_input(&f, "ids", 1, true), kinds = fx_input(&f, "kinds", 1, true), x = fx_input(&f, "x", 2, false);
    const ctl_node_id wide = fx_param(&f, "wide", 9, 2, false), narrow = fx_param(&f, "narrow", 5, 2, false);
    fx_output(&f, "a", CTL_B2(f.g, CTL_NONE, OP_TAKE, wide, ids));
    fx_output(&f, "b", CTL_B2(f.g, CTL_NONE, OP_TAKE, narrow, ids));
    fx_output(&f, "c", CTL_B3(f.g, CTL_NONE, OP_HEAD, x, wide, kinds));
    fx_verify(&f, f.g);
    assert_int_equal(ctl_graph_ids_below(f.g, &f.g->inputs.at[0]), 5);
    assert_int_equal(ctl_graph_ids_below(f.g, &f.g->inputs.at[1]), 9);
    assert_int_equal(ctl_graph_ids_below(f.g, &f.g->inputs.at[2]), 0);
    fx_close(&f);
}


int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),          cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_sequences), cmocka_unit_test(test_entries),        cmocka_unit_test(test_builders_pass_misfits_on),
        cmocka_unit_test(test_planted_faults), cmocka_unit_test(test_print_and_copy),
        cmocka_unit_test(test_sweep),          cmocka_unit_test(test_replacing), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
