/* storage: a session's data into and out of its engine's memory. The host's memory is converted in place; another's goes by
 * large pieces through a buffer, or at once where nothing is to be converted. Rows that begin apart there go many at a time. */
#include "runtime/convert.h"
#include "runtime/session.h"

void ctl_stage_open(ctl_stage *stage, const ctl_session *s, size_t most) {
    const size_t bytes = most < CTL_STAGE_MOST ? most : CTL_STAGE_MOST;
    const bool large = bytes > CTL_STAGE_LEAST && s->engine->read; /* nothing waits for the host's memory */
    stage->at = large ? s->allocator->resize(s->allocator->ctx, NULL, 0, bytes) : NULL; /* need not be zeros */
    stage->bytes = stage->at ? bytes : CTL_STAGE_LEAST;
    if (!stage->at) stage->at = stage->own;
}

void ctl_stage_close(ctl_stage *stage, const ctl_session *s) {
    if (stage->at != stage->own) ctl_free(s->allocator, stage->at, stage->bytes);
    stage->at = NULL;
}

/* What one copy takes of what is next: rows of so many elements each, a stride apart, or a part of one row. */
typedef struct block {
    size_t offset, cols, rows; /* offset: bytes */
} block;

/* Of `left` elements from `at` on, at most `most`. */
static block next_block(const ctl_operand *o, size_t at, size_t left, size_t most) {
    const size_t cols = (size_t)o->cols, stride = (size_t)o->stride, size = ctl_dtype_size(o->dtype);
    const size_t row = at / cols, col = at % cols, n = left < most ? left : most;
    block b = {(row * stride + col) * size, n, 1};
    if (stride == cols || o->rows == 1) return b;
    if (col == 0 && n >= cols) b.cols = cols, b.rows = n / cols;
    else if (n > cols - col) b.cols = cols - col;
    return b;
}

ctl_status ctl_session_put(ctl_session *s, const ctl_operand *value, size_t first, size_t count, ctl_dtype dtype,
                           const void *data) {
    void *base = s->engine->address(s, value);
    if (base || !s->engine->write) {
        ctl_matrix_put(base, value, first, count, dtype, data);
        return CTL_OK;
    }
    const bool as_is = dtype == value->dtype;
    const size_t size = ctl_dtype_size(value->dtype);
    const char *from = data;
    ctl_stage stage;
    ctl_status status = CTL_OK;
    ctl_stage_open(&stage, s, as_is ? 0 : count * size);
    for (size_t done = 0, n; done < count && status == CTL_OK; done += n) {
        const block b = next_block(value, first + done, count - done, as_is ? SIZE_MAX : stage.bytes / size);
        const void *in = from + done * ctl_dtype_size(dtype);
        n = b.cols * b.rows;
        if (!as_is) ctl_convert(value->dtype, stage.at, dtype, in, n);
        status = s->engine->write(s, value, b.offset, as_is ? in : stage.at, b.cols * size, b.rows);
    }
    ctl_stage_close(&stage, s);
    return status;
}

ctl_status ctl_session_get(ctl_session *s, const ctl_operand *value, size_t first, size_t count, ctl_dtype dtype,
                           void *data) {
    const void *base = s->engine->address(s, value);
    if (base || !s->engine->read) {
        ctl_matrix_get(base, value, first, count, dtype, data);
        return CTL_OK;
    }
    const bool as_is = dtype == value->dtype;
    const size_t size = ctl_dtype_size(value->dtype);
    char *to = data;
    ctl_stage stage;
    ctl_status status = CTL_OK;
    ctl_stage_open(&stage, s, as_is ? 0 : count * size);
    for (size_t done = 0, n; done < count && status == CTL_OK; done += n) {
        const block b = next_block(value, first + done, count - done, as_is ? SIZE_MAX : stage.bytes / size);
        void *out = to + done * ctl_dtype_size(dtype);
        n = b.cols * b.rows;
        status = s->engine->read(s, value, b.offset, as_is ? out : stage.at, b.cols * size, b.rows);
        if (status == CTL_OK && !as_is) ctl_convert(dtype, out, value->dtype, stage.at, n);
    }
    ctl_stage_close(&stage, s);
    return status;
}

ctl_status ctl_session_clear(ctl_session *s, const ctl_operand *value) {
    const size_t bytes = (size_t)value->rows * (size_t)value->cols * ctl_dtype_size(value->dtype);
    if (value->buffer == UINT32_MAX || bytes == 0) return CTL_OK;
    void *base = s->engine->address(s, value);
    if (!base && s->engine->clear) return s->engine->clear(s, value, bytes);
    if (base) memset(base, 0, bytes);
    return CTL_OK;
}

/* ---- the flat arrays ---- */
const ctl_operand *ctl_session_flat_operand(const ctl_session *s, ctl_flat_array which) {
    const ctl_program *p = s->program;
    const ctl_operand *const arrays[] = {&p->trained, &p->gradients, &p->moment1, &p->moment2};
    return arrays[which];
}

static bool check_flat(ctl_session *s, ctl_flat_array which, size_t first, size_t count) {
    const size_t all = s->program->trained_elements;
    const bool there = which >= CTL_FLAT_PARAMS && which <= CTL_FLAT_MOMENT2;
    if (there && first <= all && count <= all - first &&
        (count == 0 || ctl_session_flat_operand(s, which)->buffer != UINT32_MAX))
        return true;
    ctl_session_say(s, "E0801", "ctl_session_flat tells how many elements there are",
                    "elements %zu to %zu of flat array %d: the program has %zu elements in each", first, first + count,
                    (int)which, all);
    return false;
}

ctl_status ctl_session_flat_read(ctl_session *s, ctl_flat_array which, size_t first, size_t count, void *out) {
    if (!check_flat(s, which, first, count)) return CTL_ERR_INPUT;
    const ctl_operand *o = ctl_session_flat_operand(s, which);
    return ctl_session_get(s, o, first, count, o->dtype, out);
}

ctl_status ctl_session_flat_write(ctl_session *s, ctl_flat_array which, size_t first, size_t count, const void *in) {
    if (!check_flat(s, which, first, count)) return CTL_ERR_INPUT;
    const ctl_operand *o = ctl_session_flat_operand(s, which);
    return ctl_session_put(s, o, first, count, o->dtype, in);
}
