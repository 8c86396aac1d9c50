/* kernel: the function of one row program: rows, passes, loops over columns, chunks of 16. What is computed
 * where is said by the schedule (compiler/kernel/rowprog_schedule.h); this file gives it the form of loops.
 *
 *   entry: bases and strides of the operands, the call's numbers
 *   for t, for h: rows' addresses; for each pass: numbers, loops, stores of numbers
 *
 * A segment of a loop is at most: a masked chunk, whole chunks, a masked chunk. Few whole chunks are written
 * one after the other, more become a loop whose body takes one, or with dropout four. In a chunk all sinks'
 * values are computed before anything is stored, so an operand may be stored over one that is loaded at the
 * same columns. */
#include "compiler/emit/cpu/build.h"

#include <math.h>

typedef LLVMValueRef value;

void ctl_cpu_builder_arrays(ctl_cpu_builder *e, ctl_arena *arena, const ctl_cpu_sizes *sizes) {
    e->operands = CTL_NEW_ARRAY(arena, ctl_cpu_operand, sizes->operands);
    e->sites = CTL_NEW_ARRAY(arena, value, sizes->sites);
    e->number = CTL_NEW_ARRAY(arena, value, sizes->instrs);
    e->spread = CTL_NEW_ARRAY(arena, value, sizes->instrs);
    e->words = CTL_NEW_ARRAY(arena, ctl_cpu_words, sizes->instrs);
    e->value = CTL_NEW_ARRAY(arena, value, sizes->steps);
    e->sums = CTL_NEW_ARRAY(arena, value, sizes->sinks);
    e->phis = CTL_NEW_ARRAY(arena, value, sizes->sinks);
}

void ctl_cpu_builder_open(ctl_cpu_builder *e, const char *name) {
    LLVMContextRef c = e->context = LLVMContextCreate();
    e->module = LLVMModuleCreateWithNameInContext(name, c);
    e->at = LLVMCreateBuilderInContext(c);
    e->ptr = LLVMPointerTypeInContext(c, 0);
    e->i8 = LLVMInt8TypeInContext(c);
    e->i64 = LLVMInt64TypeInContext(c);
    e->one = (ctl_cpu_shape){1, LLVMFloatTypeInContext(c), LLVMInt32TypeInContext(c),
                             LLVMInt16TypeInContext(c), LLVMInt1TypeInContext(c)};
    e->many = (ctl_cpu_shape){CTL_LANES, LLVMVectorType(e->one.real, CTL_LANES),
                              LLVMVectorType(e->one.word, CTL_LANES), LLVMVectorType(e->one.half, CTL_LANES),
                              LLVMVectorType(e->one.truth, CTL_LANES)};
    value lanes[CTL_LANES];
    for (unsigned j = 0; j < CTL_LANES; j++) lanes[j] = LLVMConstInt(e->one.word, j, 0);
    e->lane = LLVMConstVector(lanes, CTL_LANES);
}

void ctl_cpu_builder_close(ctl_cpu_builder *e) {
    if (e->at) LLVMDisposeBuilder(e->at);
    if (e->module) LLVMDisposeModule(e->module);
    if (e->context) LLVMContextDispose(e->context);
    e->at = NULL, e->module = NULL, e->context = NULL;
}

/* ---- the call and the row ---- */
static LLVMBasicBlockRef block(ctl_cpu_builder *e) {
    return LLVMAppendBasicBlockInContext(e->context, e->fn, "");
}

static value bytes_on(ctl_cpu_builder *e, value p, value n) {
    return LLVMBuildGEP2(e->at, e->i8, p, &n, 1, "");
}
static value field(ctl_cpu_builder *e, value p, size_t offset, LLVMTypeRef type) {
    return LLVMBuildLoad2(e->at, type, bytes_on(e, p, ctl_cpu_i64(e, (int64_t)offset)), "");
}

static void open_call(ctl_cpu_builder *e) {
    value call = LLVMGetParam(e->fn, 0);
    value args = field(e, call, offsetof(ctl_rows_call, args), e->ptr);
    for (uint32_t k = 0; k < e->p->noperands; k++) {
        ctl_cpu_operand *o = &e->operands[k];
        size_t at = k * sizeof(ctl_rows_arg);
        *o = (ctl_cpu_operand){.base = field(e, args, at + offsetof(ctl_rows_arg, base), e->ptr)};
        o->stride = field(e, args, at + offsetof(ctl_rows_arg, stride), e->i64);
        if (e->p->operands[k].at == AT_GATHER)
            o->index = field(e, args, at + offsetof(ctl_rows_arg, index), e->ptr);
    }
    e->scratch = field(e, call, offsetof(ctl_rows_call, scratch), e->ptr);
    if (e->p->nsites == 0) return;
    value sites = field(e, call, offsetof(ctl_rows_call, sites), e->ptr);
    for (uint32_t k = 0; k < e->p->nsites; k++)
        e->sites[k] = field(e, sites, k * sizeof(uint32_t), e->one.word);
    e->step = field(e, call, offsetof(ctl_rows_call, step), e->one.word);
    value seed = field(e, call, offsetof(ctl_rows_call, seed), e->i64);
    e->key[0] = LLVMBuildTrunc(e->at, seed, e->one.word, "");
    e->key[1] = LLVMBuildTrunc(e->at, LLVMBuildLShr(e->at, seed, ctl_cpu_i64(e, 32), ""), e->one.word, "");
    e->row0 = field(e, call, offsetof(ctl_rows_call, row0), e->i64);
}

static value scaled(ctl_cpu_builder *e, const ctl_cpu_operand *o, value row, size_t size) {
    value at = LLVMBuildMul(e->at, row, o->stride, "");
    return bytes_on(e, o->base, LLVMBuildMul(e->at, at, ctl_cpu_i64(e, (int64_t)size), ""));
}

static void open_row(ctl_cpu_builder *e) {
    for (uint32_t k = 0; k < e->p->noperands; k++) {
        ctl_cpu_operand *o = &e->operands[k];
        size_t size = ctl_dtype_size(e->p->operands[k].dtype);
        switch (e->p->operands[k].at) {
        case AT_ROW:
        case AT_OUTER:
            o->outer = scaled(e, o, e->t, size);
            break;
        case AT_FIXED:
            o->outer = o->base;
            break;
        case AT_GATHER: {
            value at = LLVMBuildGEP2(e->at, e->one.word, o->index, &e->t, 1, "");
            value index = LLVMBuildLoad2(e->at, e->one.word, at, "");
            o->outer = scaled(e, o, LLVMBuildSExt(e->at, index, e->i64, ""), size);
            break;
        }
        case AT_CHUNK:
            o->outer = scaled(e, o, LLVMBuildUDiv(e->at, e->t, ctl_cpu_i64(e, CTL_ROW_CHUNK), ""), size);
        }
    }
}

static void open_part(ctl_cpu_builder *e) {
    for (uint32_t k = 0; k < e->p->noperands; k++) {
        const ctl_row_operand *q = &e->p->operands[k];
        ctl_cpu_operand *o = &e->operands[k];
        int64_t bytes = q->cols * (int64_t)ctl_dtype_size(q->dtype);
        o->row = o->outer;
        if (q->at == AT_ROW && e->p->split > 1)
            o->row = bytes_on(e, o->outer, LLVMBuildMul(e->at, e->h, ctl_cpu_i64(e, bytes), ""));
    }
    if (e->p->nsites > 0) {
        value row =
            LLVMBuildMul(e->at, LLVMBuildAdd(e->at, e->row0, e->t, ""), ctl_cpu_i64(e, e->p->split), "");
        e->batch_row = LLVMBuildTrunc(e->at, LLVMBuildAdd(e->at, row, e->h, ""), e->one.word, "");
    }
    value within = LLVMBuildAnd(e->at, e->t, ctl_cpu_i64(e, CTL_ROW_CHUNK - 1), "");
    within = LLVMBuildOr(e->at, within, e->h, "");
    e->first_of_chunk = LLVMBuildICmp(e->at, LLVMIntEQ, within, ctl_cpu_i64(e, 0), "");
}

/* ---- steps and sinks ---- */
static value kept_row(ctl_cpu_builder *e, uint32_t instr) {
    return bytes_on(e, e->scratch, ctl_cpu_i64(e, e->schedule->kept[instr] * (int64_t)sizeof(float)));
}

static value step_value(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, const ctl_row_step *s) {
    const ctl_row_instr *q = &e->p->at[s->instr];
    value in[3] = {0};
    for (uint32_t k = 0; s->kind == STEP_COMPUTE && k < q->nin; k++) in[k] = e->value[s->in[k]];
    if (s->kind == STEP_KEPT) return ctl_cpu_load(e, chunk, CTL_F32, kept_row(e, s->instr), s->offset);
    if (s->kind == STEP_NUMBER) return chunk->shape->lanes > 1 ? e->spread[s->instr] : e->number[s->instr];
    switch (q->op) {
    case OP_CONST:
        return ctl_cpu_real(chunk->shape, (float)q->f);
    case OP_INDEX:
        return ctl_cpu_index(e, chunk, s->offset);
    case ROW_LOAD:
        return ctl_cpu_load(e, chunk, e->p->operands[q->i[0]].dtype, e->operands[q->i[0]].row, s->offset);
    case OP_DROP:
        return ctl_cpu_drop(e, chunk, s->instr, s->offset, in[0]);
    default:
        return ctl_cpu_apply(e, q, in);
    }
}

static void write_sink(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, uint32_t instr, value x) {
    const ctl_row_instr *q = &e->p->at[instr];
    value row = e->operands[q->i[0]].row;
    if (q->op != ROW_STORE) {
        value old = ctl_cpu_load(e, chunk, CTL_F32, row, 0);
        if (q->op == ROW_COLSUM)
            old = LLVMBuildSelect(e->at, e->first_of_chunk, ctl_cpu_real(chunk->shape, 0), old, "");
        x = LLVMBuildFAdd(e->at, old, x, "");
    }
    ctl_cpu_store(e, chunk, e->p->operands[q->i[0]].dtype, row, x);
}

static void reduce_sink(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, uint32_t op, value *sum, value x) {
    bool adds = op == OP_SUM;
    if (chunk->from != 0 || chunk->to != CTL_LANES)
        x = LLVMBuildSelect(e->at, ctl_cpu_mask(e, chunk), x, ctl_cpu_real(&e->many, adds ? 0 : -INFINITY),
                            "");
    *sum = adds ? LLVMBuildFAdd(e->at, *sum, x, "") : ctl_cpu_choose_max(e, x, *sum);
}

static void write_chunk(ctl_cpu_builder *e, const ctl_row_loop *loop, const ctl_row_segment *g,
                        const ctl_cpu_chunk *chunk) {
    for (size_t k = 0; k < g->steps.n; k++) e->value[k] = step_value(e, chunk, &g->steps.at[k]);
    for (size_t k = 0; k < loop->sinks.n; k++) {
        const ctl_row_sink *sink = &loop->sinks.at[k];
        value x = e->value[g->step_of[k]];
        if (sink->kind == SINK_REDUCE)
            reduce_sink(e, chunk, e->p->at[sink->instr].op, &e->sums[k], x);
        else if (sink->kind == SINK_KEEP)
            ctl_cpu_store(e, chunk, CTL_F32, kept_row(e, sink->instr), x);
        else
            write_sink(e, chunk, sink->instr, x);
    }
}

/* ---- loops over columns ---- */
/* Processors look far enough ahead that taking several chunks at a time gains nothing, but where they share
 * work. */
static int chunks_of_body(const ctl_cpu_builder *e, const ctl_row_segment *g) {
    for (size_t k = 0; k < g->steps.n; k++)
        if (g->steps.at[k].kind == STEP_COMPUTE && e->p->at[g->steps.at[k].instr].op == OP_DROP) return 4;
    return 1;
}

static void loop_of_chunks(ctl_cpu_builder *e, const ctl_row_loop *loop, const ctl_row_segment *g,
                           int64_t begin, int64_t end, int most) {
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->at), body = block(e), after = block(e);
    LLVMBuildBr(e->at, body);
    LLVMPositionBuilderAtEnd(e->at, body);
    value column = LLVMBuildPhi(e->at, e->i64, "");
    LLVMAddIncoming(column, &(value){ctl_cpu_i64(e, begin)}, &before, 1);
    for (size_t k = 0; k < loop->sinks.n; k++) {
        if (loop->sinks.at[k].kind != SINK_REDUCE) continue;
        e->phis[k] = LLVMBuildPhi(e->at, e->many.real, "");
        LLVMAddIncoming(e->phis[k], &e->sums[k], &before, 1);
        e->sums[k] = e->phis[k];
    }
    ctl_cpu_chunk chunk = {.shape = &e->many, .base = column, .to = CTL_LANES, .group = ++e->groups};
    chunk.base_mod_64 = most == 4 ? begin % 64 : -1;
    for (int k = 0; k < most; k++) {
        chunk.column = k * CTL_LANES;
        write_chunk(e, loop, g, &chunk);
    }
    value next = LLVMBuildAdd(e->at, column, ctl_cpu_i64(e, most * CTL_LANES), "");
    LLVMAddIncoming(column, &next, &body, 1);
    for (size_t k = 0; k < loop->sinks.n; k++)
        if (loop->sinks.at[k].kind == SINK_REDUCE) LLVMAddIncoming(e->phis[k], &e->sums[k], &body, 1);
    LLVMBuildCondBr(e->at, LLVMBuildICmp(e->at, LLVMIntULT, next, ctl_cpu_i64(e, end), ""), body, after);
    LLVMPositionBuilderAtEnd(e->at, after);
}

static void write_segment(ctl_cpu_builder *e, const ctl_row_loop *loop, const ctl_row_segment *g) {
    ctl_cpu_chunk chunk = {.shape = &e->many, .base = ctl_cpu_i64(e, 0), .group = ++e->groups};
    int64_t at = g->begin / CTL_LANES * CTL_LANES;
    int most = chunks_of_body(e, g);
    while (at < g->end) {
        int64_t whole = (g->end - at) / CTL_LANES, bodies = whole / most;
        if (at >= g->begin && whole > 4 && bodies > 1 && (most < 4 || at % 64 == 0)) {
            loop_of_chunks(e, loop, g, at, at + bodies * most * CTL_LANES, most);
            at += bodies * most * CTL_LANES;
            continue;
        }
        chunk.column = at;
        chunk.from = at < g->begin ? (unsigned)(g->begin - at) : 0;
        chunk.to = g->end - at < CTL_LANES ? (unsigned)(g->end - at) : CTL_LANES;
        write_chunk(e, loop, g, &chunk);
        at += CTL_LANES;
    }
}

/* The fixed tree over lanes: 8 apart, then 4, 2, 1. */
static value fold_lanes(ctl_cpu_builder *e, uint32_t op, value x) {
    for (unsigned n = CTL_LANES / 2; n > 0; n /= 2) {
        value low[CTL_LANES / 2], high[CTL_LANES / 2];
        for (unsigned j = 0; j < n; j++) {
            low[j] = LLVMConstInt(e->one.word, j, 0);
            high[j] = LLVMConstInt(e->one.word, j + n, 0);
        }
        value a = LLVMBuildShuffleVector(e->at, x, LLVMGetPoison(LLVMTypeOf(x)), LLVMConstVector(low, n), "");
        value b =
            LLVMBuildShuffleVector(e->at, x, LLVMGetPoison(LLVMTypeOf(x)), LLVMConstVector(high, n), "");
        x = op == OP_SUM ? LLVMBuildFAdd(e->at, a, b, "") : ctl_cpu_choose_max(e, b, a);
    }
    return LLVMBuildExtractElement(e->at, x, LLVMConstInt(e->one.word, 0, 0), "");
}

static void write_loop(ctl_cpu_builder *e, const ctl_row_loop *loop) {
    for (size_t k = 0; k < loop->segments.n; k++)
        for (size_t j = 0; j < loop->segments.at[k].steps.n; j++) {
            const ctl_row_step *s = &loop->segments.at[k].steps.at[j];
            if (s->kind == STEP_NUMBER && !e->spread[s->instr])
                e->spread[s->instr] = ctl_cpu_spread(e, e->number[s->instr], e->many.real);
        }
    for (size_t k = 0; k < loop->sinks.n; k++)
        e->sums[k] = ctl_cpu_real(&e->many, e->p->at[loop->sinks.at[k].instr].op == OP_SUM ? 0 : -INFINITY);
    for (size_t k = 0; k < loop->segments.n; k++) write_segment(e, loop, &loop->segments.at[k]);
    for (size_t k = 0; k < loop->sinks.n; k++) {
        uint32_t instr = loop->sinks.at[k].instr;
        if (loop->sinks.at[k].kind == SINK_REDUCE)
            e->number[instr] = fold_lanes(e, e->p->at[instr].op, e->sums[k]);
    }
}

static void write_pass(ctl_cpu_builder *e, const ctl_row_pass *pass) {
    ctl_cpu_chunk one = {.shape = &e->one, .base = ctl_cpu_i64(e, 0), .to = 1};
    for (size_t k = 0; k < pass->steps.n; k++) e->value[k] = step_value(e, &one, &pass->steps.at[k]);
    for (size_t k = 0; k < pass->numbers.n; k++)
        e->number[pass->numbers.at[k].instr] = e->value[pass->numbers.at[k].step];
    for (size_t k = 0; k < pass->loops.n; k++) write_loop(e, &pass->loops.at[k]);
    for (size_t k = 0; k < pass->stores.n; k++)
        write_sink(e, &one, pass->stores.at[k], e->number[e->p->at[pass->stores.at[k]].in[0]]);
}

/* ---- the function ---- */
static value open_loop(ctl_cpu_builder *e, value begin, LLVMBasicBlockRef *head) {
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->at);
    *head = block(e);
    LLVMBuildBr(e->at, *head);
    LLVMPositionBuilderAtEnd(e->at, *head);
    value at = LLVMBuildPhi(e->at, e->i64, "");
    LLVMAddIncoming(at, &begin, &before, 1);
    return at;
}

static void close_loop(ctl_cpu_builder *e, value at, value end, LLVMBasicBlockRef head) {
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->at), after = block(e);
    value next = LLVMBuildAdd(e->at, at, ctl_cpu_i64(e, 1), "");
    LLVMAddIncoming(at, &next, &last, 1);
    LLVMBuildCondBr(e->at, LLVMBuildICmp(e->at, LLVMIntSLT, next, end, ""), head, after);
    LLVMPositionBuilderAtEnd(e->at, after);
}

void ctl_cpu_build_kernel(ctl_cpu_builder *e, const char *name) {
    LLVMTypeRef params[] = {e->ptr, e->i64, e->i64};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), params, 3, 0);
    e->fn = LLVMAddFunction(e->module, name, type);
    memset(e->words, 0, e->p->n * sizeof *e->words);
    memset(e->spread, 0, e->p->n * sizeof(value));
    LLVMPositionBuilderAtEnd(e->at, block(e));
    value begin = LLVMGetParam(e->fn, 1), end = LLVMGetParam(e->fn, 2);
    LLVMBasicBlockRef some = block(e), none = block(e), rows, parts;
    LLVMBuildCondBr(e->at, LLVMBuildICmp(e->at, LLVMIntSLT, begin, end, ""), some, none);
    LLVMPositionBuilderAtEnd(e->at, none);
    LLVMBuildRetVoid(e->at);
    LLVMPositionBuilderAtEnd(e->at, some);
    open_call(e);
    e->t = open_loop(e, begin, &rows);
    open_row(e);
    e->h = ctl_cpu_i64(e, 0);
    if (e->p->split > 1) e->h = open_loop(e, e->h, &parts);
    open_part(e);
    for (uint32_t k = 0; k < e->schedule->npasses; k++) write_pass(e, &e->schedule->passes[k]);
    if (e->p->split > 1) close_loop(e, e->h, ctl_cpu_i64(e, e->p->split), parts);
    close_loop(e, e->t, end, rows);
    LLVMBuildRetVoid(e->at);
}
