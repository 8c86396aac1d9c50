/* frozen: a number for all weights that a run does not change. A checkpoint does not hold them, and its numbers mean nothing
 * over others. See checkpoint.h. */
#include "runtime/checkpoint.h"
#include "runtime/weights.h"

/* ctl_hash goes byte by byte, too slowly for 16 GB: four chains of words hide the multiplications' latency. */
static uint64_t hash_words(const void *data, size_t bytes, uint64_t h) {
    enum { LANES = 4 };
    uint64_t lane[LANES] = {h, h ^ 1, h ^ 2, h ^ 3}, word[LANES];
    const char *at = data;
    for (; bytes >= sizeof word; at += sizeof word, bytes -= sizeof word) {
        memcpy(word, at, sizeof word);
        for (int k = 0; k < LANES; k++) {
            lane[k] = (lane[k] ^ word[k]) * 0x9e3779b97f4a7c15u;
            lane[k] ^= lane[k] >> 32;
        }
    }
    return ctl_hash(at, bytes, ctl_hash(lane, sizeof lane, h));
}

uint64_t ctl_session_frozen_hash(ctl_session *s) {
    enum { PART = 8192 }; /* bytes that are hashed at a time, whatever is read at a time */
    const ctl_program *program = s->program;
    uint64_t h = 0;
    size_t done = 0, all = 0;
    for (size_t i = 0; i < program->nparams; i++)
        if (!ctl_save_selects(&program->params[i], CTL_SAVE_ADAPTER)) all += ctl_param_elements(&program->params[i]);
    for (size_t i = 0; i < program->nparams; i++) {
        const ctl_program_param *p = &program->params[i];
        if (ctl_save_selects(p, CTL_SAVE_ADAPTER)) continue;
        const size_t n = ctl_param_elements(p), size = ctl_dtype_size(p->value.dtype);
        ctl_stage stage;
        h = ctl_hash(p->name, strlen(p->name), h);
        ctl_stage_open(&stage, s, n * size);
        const size_t most = stage.bytes / PART * PART / size;
        for (size_t first = 0, count; first < n; first += count) {
            count = n - first < most ? n - first : most;
            ctl_session_param_get(s, i, first, count, p->value.dtype, stage.at);
            for (size_t at = 0, bytes = count * size; at < bytes; at += PART)
                h = hash_words((const char *)stage.at + at, bytes - at < PART ? bytes - at : PART, h);
        }
        ctl_stage_close(&stage, s);
        ctl_session_tell(s, "numbering weights", done += n, all);
    }
    return h;
}
