/* ops: one operation of a row program on one number or on 16 columns; loads, stores and bf16 by integer
 * rounding.
 *
 * bf16 values are f32 whose low half is zero: a load shifts left, a cast rounds in place, a store shifts
 * right. The processors' own conversions flush subnormals, and LLVM's fptrunc calls a function on older ones.
 */
#include "compiler/emit/cpu/build.h"

#include <math.h>

typedef LLVMValueRef value;

const ctl_cpu_shape *ctl_cpu_shape_of(const ctl_cpu_builder *e, LLVMValueRef x) {
    return LLVMGetTypeKind(LLVMTypeOf(x)) == LLVMVectorTypeKind ? &e->many : &e->one;
}

static value filled(const ctl_cpu_shape *shape, value constant) {
    if (shape->lanes == 1) return constant;
    value all[CTL_LANES];
    for (unsigned j = 0; j < CTL_LANES; j++) all[j] = constant;
    return LLVMConstVector(all, CTL_LANES);
}
static LLVMTypeRef element(LLVMTypeRef type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}
LLVMValueRef ctl_cpu_real(const ctl_cpu_shape *shape, double x) {
    return filled(shape, LLVMConstReal(element(shape->real), x));
}
LLVMValueRef ctl_cpu_word(const ctl_cpu_shape *shape, uint32_t x) {
    return filled(shape, LLVMConstInt(element(shape->word), x, 0));
}
LLVMValueRef ctl_cpu_i64(const ctl_cpu_builder *e, int64_t x) {
    return LLVMConstInt(e->i64, (uint64_t)x, 1);
}

LLVMValueRef ctl_cpu_spread(ctl_cpu_builder *e, LLVMValueRef number, LLVMTypeRef type) {
    if (LLVMIsConstant(number)) return filled(&e->many, number);
    value none = LLVMGetPoison(type);
    value first = LLVMBuildInsertElement(e->at, none, number, LLVMConstInt(e->one.word, 0, 0), "");
    return LLVMBuildShuffleVector(e->at, first, none, LLVMConstNull(e->many.word), "");
}

static value call_intrinsic(ctl_cpu_builder *e, const char *name, LLVMTypeRef *types, unsigned ntypes,
                            value *args, unsigned n) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    value fn = LLVMGetIntrinsicDeclaration(e->module, id, types, ntypes);
    return LLVMBuildCall2(e->at, LLVMIntrinsicGetType(e->context, id, types, ntypes), fn, args, n, "");
}
LLVMValueRef ctl_cpu_intrinsic(ctl_cpu_builder *e, const char *name, LLVMTypeRef type, LLVMValueRef *args,
                               unsigned n) {
    return call_intrinsic(e, name, &type, 1, args, n);
}

LLVMValueRef ctl_cpu_choose_max(ctl_cpu_builder *e, LLVMValueRef x, LLVMValueRef most) {
    return LLVMBuildSelect(e->at, LLVMBuildFCmp(e->at, LLVMRealOGT, x, most, ""), x, most, "");
}

/* ---- element by element ---- */
static value round_bf16(ctl_cpu_builder *e, value x) {
    const ctl_cpu_shape *s = ctl_cpu_shape_of(e, x);
    value bits = LLVMBuildBitCast(e->at, x, s->word, "");
    value last = LLVMBuildAnd(e->at, bits, ctl_cpu_word(s, 0x10000), "");
    value odd = LLVMBuildICmp(e->at, LLVMIntNE, last, ctl_cpu_word(s, 0), "");
    value half = LLVMBuildSelect(e->at, odd, ctl_cpu_word(s, 0x8000), ctl_cpu_word(s, 0x7fff), "");
    value sum = LLVMBuildAdd(e->at, bits, half, "");
    value quiet = LLVMBuildOr(e->at, bits, ctl_cpu_word(s, 0x400000), "");
    value nan = LLVMBuildFCmp(e->at, LLVMRealUNO, x, x, "");
    value high =
        LLVMBuildAnd(e->at, LLVMBuildSelect(e->at, nan, quiet, sum, ""), ctl_cpu_word(s, 0xffff0000u), "");
    return LLVMBuildBitCast(e->at, high, s->real, "");
}

static value truth(ctl_cpu_builder *e, LLVMRealPredicate predicate, value a, value b) {
    const ctl_cpu_shape *s = ctl_cpu_shape_of(e, a);
    return LLVMBuildSelect(e->at, LLVMBuildFCmp(e->at, predicate, a, b, ""), ctl_cpu_real(s, 1),
                           ctl_cpu_real(s, 0), "");
}

static value unary(ctl_cpu_builder *e, const char *name, value a) {
    return ctl_cpu_intrinsic(e, name, LLVMTypeOf(a), &a, 1);
}

LLVMValueRef ctl_cpu_apply(ctl_cpu_builder *e, const ctl_row_instr *q, LLVMValueRef *in) {
    const ctl_cpu_shape *s = ctl_cpu_shape_of(e, in[0]);
    value a = in[0], b = q->nin > 1 ? in[1] : a;
    switch (q->op) {
    case OP_NEG:
        return LLVMBuildFNeg(e->at, a, "");
    case OP_SQRT:
        return unary(e, "llvm.sqrt", a);
    case OP_RSQRT:
        return LLVMBuildFDiv(e->at, ctl_cpu_real(s, 1), unary(e, "llvm.sqrt", a), "");
    case OP_ADD:
        return LLVMBuildFAdd(e->at, a, b, "");
    case OP_SUB:
        return LLVMBuildFSub(e->at, a, b, "");
    case OP_MUL:
        return LLVMBuildFMul(e->at, a, b, "");
    case OP_DIV:
        return LLVMBuildFDiv(e->at, a, b, "");
    case OP_MOD: {
        value whole = unary(e, "llvm.floor", LLVMBuildFDiv(e->at, a, b, ""));
        return LLVMBuildFSub(e->at, a, LLVMBuildFMul(e->at, b, whole, ""), "");
    }
    case OP_MAX:
        return ctl_cpu_choose_max(e, a, b);
    case OP_MIN:
        return LLVMBuildSelect(e->at, LLVMBuildFCmp(e->at, LLVMRealOLT, a, b, ""), a, b, "");
    case OP_LT:
        return truth(e, LLVMRealOLT, a, b);
    case OP_LE:
        return truth(e, LLVMRealOLE, a, b);
    case OP_EQ:
        return truth(e, LLVMRealOEQ, a, b);
    case OP_SELECT:
        return LLVMBuildSelect(e->at, LLVMBuildFCmp(e->at, LLVMRealUNE, a, ctl_cpu_real(s, 0), ""), b, in[2],
                               "");
    case OP_TOINT:
        return unary(e, "llvm.rint", a);
    case OP_CAST:
        return q->dtype == CTL_BF16 ? round_bf16(e, a) : a;
    /* Of one number: wide ones are reduced in loops. */
    case OP_SUM:
        return LLVMBuildFAdd(e->at, ctl_cpu_real(s, 0), a, "");
    case OP_ROWMAX:
        return ctl_cpu_choose_max(e, a, ctl_cpu_real(s, -INFINITY));
    default:
        return ctl_cpu_math(e, q->op, a, b);
    }
}

/* ---- columns ---- */
LLVMValueRef ctl_cpu_mask(const ctl_cpu_builder *e, const ctl_cpu_chunk *chunk) {
    value lanes[CTL_LANES];
    LLVMTypeRef bit = e->one.truth;
    for (unsigned j = 0; j < CTL_LANES; j++)
        lanes[j] = LLVMConstInt(bit, j >= chunk->from && j < chunk->to, 0);
    return LLVMConstVector(lanes, CTL_LANES);
}
static bool is_whole(const ctl_cpu_chunk *chunk) {
    return chunk->shape->lanes == 1 || (chunk->from == 0 && chunk->to == CTL_LANES);
}

LLVMValueRef ctl_cpu_index(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, int64_t offset) {
    const ctl_cpu_shape *s = chunk->shape;
    value base = LLVMBuildTrunc(e->at, chunk->base, e->one.word, "");
    value column = LLVMBuildAdd(e->at, base, ctl_cpu_word(&e->one, (uint32_t)(chunk->column + offset)), "");
    if (s->lanes > 1) column = LLVMBuildAdd(e->at, ctl_cpu_spread(e, column, s->word), e->lane, "");
    return LLVMBuildSIToFP(e->at, column, s->real, "");
}

static LLVMTypeRef storage(const ctl_cpu_shape *s, ctl_dtype dtype) {
    return dtype == CTL_BF16 ? s->half : dtype == CTL_I32 ? s->word : s->real;
}
static unsigned alignment(ctl_dtype dtype) {
    return dtype == CTL_BF16 ? 2 : 4;
}

static value address(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, ctl_dtype dtype, value row,
                     int64_t offset) {
    LLVMTypeRef type = storage(&e->one, dtype);
    value at = LLVMBuildGEP2(e->at, type, row, &(value){chunk->base}, 1, "");
    value more = ctl_cpu_i64(e, chunk->column + offset);
    return LLVMBuildGEP2(e->at, type, at, &more, 1, "");
}

LLVMValueRef ctl_cpu_load(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, ctl_dtype dtype, LLVMValueRef row,
                          int64_t offset) {
    const ctl_cpu_shape *s = chunk->shape;
    LLVMTypeRef type = storage(s, dtype);
    value at = address(e, chunk, dtype, row, offset), x;
    if (is_whole(chunk)) {
        x = LLVMBuildLoad2(e->at, type, at, "");
        LLVMSetAlignment(x, alignment(dtype));
    } else {
        value args[] = {at, LLVMConstInt(e->one.word, alignment(dtype), 0), ctl_cpu_mask(e, chunk),
                        LLVMConstNull(type)};
        x = call_intrinsic(e, "llvm.masked.load", (LLVMTypeRef[]){type, e->ptr}, 2, args, 4);
    }
    if (dtype == CTL_I32) return LLVMBuildSIToFP(e->at, x, s->real, "");
    if (dtype != CTL_BF16) return x;
    value wide = LLVMBuildShl(e->at, LLVMBuildZExt(e->at, x, s->word, ""), ctl_cpu_word(s, 16), "");
    return LLVMBuildBitCast(e->at, wide, s->real, "");
}

void ctl_cpu_store(ctl_cpu_builder *e, const ctl_cpu_chunk *chunk, ctl_dtype dtype, LLVMValueRef row,
                   LLVMValueRef x) {
    const ctl_cpu_shape *s = chunk->shape;
    if (dtype == CTL_BF16) {
        value bits = LLVMBuildBitCast(e->at, x, s->word, "");
        x = LLVMBuildTrunc(e->at, LLVMBuildLShr(e->at, bits, ctl_cpu_word(s, 16), ""), s->half, "");
    } else if (dtype == CTL_I32) {
        value whole = unary(e, "llvm.rint", x);
        x = call_intrinsic(e, "llvm.fptosi.sat", (LLVMTypeRef[]){s->word, s->real}, 2, &whole, 1);
    }
    value at = address(e, chunk, dtype, row, 0);
    if (is_whole(chunk)) {
        LLVMSetAlignment(LLVMBuildStore(e->at, x, at), alignment(dtype));
        return;
    }
    value args[] = {x, at, LLVMConstInt(e->one.word, alignment(dtype), 0), ctl_cpu_mask(e, chunk)};
    call_intrinsic(e, "llvm.masked.store", (LLVMTypeRef[]){LLVMTypeOf(x), e->ptr}, 2, args, 4);
}
