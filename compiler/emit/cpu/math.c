/* math: math.def as LLVM instructions. See compiler/kernel/math.def for the notation. */
#include "compiler/emit/cpu/build.h"

typedef LLVMValueRef value;

static value fma_of(ctl_cpu_builder *builder, value a, value b, value c) {
    return ctl_cpu_intrinsic(builder, "llvm.fma", LLVMTypeOf(a), (value[]){a, b, c}, 3);
}
static value odd(ctl_cpu_builder *builder, const ctl_cpu_shape *shape, value a) {
    return LLVMBuildTrunc(builder->at, a, shape->truth, "");
}

#define REAL              const value
#define INT               const value
#define K(literal)        ctl_cpu_real(shape, (literal))
#define I(literal)        ctl_cpu_word(shape, (literal))
#define ADD(a, b)         LLVMBuildFAdd(builder->at, (a), (b), "")
#define SUB(a, b)         LLVMBuildFSub(builder->at, (a), (b), "")
#define MUL(a, b)         LLVMBuildFMul(builder->at, (a), (b), "")
#define DIV(a, b)         LLVMBuildFDiv(builder->at, (a), (b), "")
#define NEG(a)            LLVMBuildFNeg(builder->at, (a), "")
#define ABS(a)            ctl_cpu_intrinsic(builder, "llvm.fabs", shape->real, (value[]){(a)}, 1)
#define FMA(a, b, c)      fma_of(builder, (a), (b), (c))
#define GT(a, b)          LLVMBuildFCmp(builder->at, LLVMRealOGT, (a), (b), "")
#define LT(a, b)          LLVMBuildFCmp(builder->at, LLVMRealOLT, (a), (b), "")
#define EQ(a, b)          LLVMBuildFCmp(builder->at, LLVMRealOEQ, (a), (b), "")
#define ODD(a)            odd(builder, shape, (a))
#define SELECT(c, a, b)   LLVMBuildSelect(builder->at, (c), (a), (b), "")
#define BITS(a)           LLVMBuildBitCast(builder->at, (a), shape->word, "")
#define FROM_BITS(a)      LLVMBuildBitCast(builder->at, (a), shape->real, "")
#define IADD(a, b)        LLVMBuildAdd(builder->at, (a), (b), "")
#define ISUB(a, b)        LLVMBuildSub(builder->at, (a), (b), "")
#define IAND(a, b)        LLVMBuildAnd(builder->at, (a), (b), "")
#define IXOR(a, b)        LLVMBuildXor(builder->at, (a), (b), "")
#define ISHL(a, n)        LLVMBuildShl(builder->at, (a), ctl_cpu_word(shape, (n)), "")
#define ISHR(a, n)        LLVMBuildAShr(builder->at, (a), ctl_cpu_word(shape, (n)), "")
#define TO_REAL(a)        LLVMBuildSIToFP(builder->at, (a), shape->real, "")
#define CALL2(name, a, b) math_##name(builder, (a), (b))
#define RETURN(a)         return (a)

#define MATH1(name, x, ...)                                                                                  \
    static value math_##name(ctl_cpu_builder *builder, value x) {                                            \
        const ctl_cpu_shape *shape = ctl_cpu_shape_of(builder, x);                                           \
        __VA_ARGS__                                                                                          \
    }
#define MATH2(name, x, y, ...)                                                                               \
    static value math_##name(ctl_cpu_builder *builder, value x, value y) {                                   \
        const ctl_cpu_shape *shape = ctl_cpu_shape_of(builder, x);                                           \
        __VA_ARGS__                                                                                          \
    }
#include "compiler/kernel/math.def"

LLVMValueRef ctl_cpu_math(ctl_cpu_builder *builder, uint32_t op, LLVMValueRef x, LLVMValueRef y) {
    switch (op) {
    case OP_EXP:
        return math_exp(builder, x);
    case OP_LOG:
        return math_log(builder, x);
    case OP_TANH:
        return math_tanh(builder, x);
    case OP_ERF:
        return math_erf(builder, x);
    case OP_SIN:
        return math_sin(builder, x);
    case OP_COS:
        return math_cos(builder, x);
    default:
        return math_pow(builder, x, y);
    }
}
