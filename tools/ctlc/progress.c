/* progress: see progress.h. */
#include "tools/ctlc/progress.h"

#include "tools/ctlc/tool.h"
#include "train/feed.h"

void progress_end(progress *p) {
    if (p->open) fputc('\n', p->to);
    p->open = p->share_open = false;
    fflush(p->to);
}

void progress_step(progress *p, const ctl_progress *now) {
    if (p->quiet) return;
    const int64_t apart = now->steps / 20 > 0 ? now->steps / 20 : 1;
    if (!p->terminal && now->step % apart != 0 && now->step != 1 && now->step != now->steps) return;
    char seconds[32], left[48] = "", memory[32], line[256];
    if (now->step < now->steps) snprintf(left, sizeof left, "  %s left", tool_seconds(now->seconds_left, seconds));
    int n = snprintf(line, sizeof line, "step %lld/%lld  loss %.4f  %.0f tokens/s%s  %s resident",
                     (long long)now->step, (long long)now->steps, now->loss, now->tokens_per_second, left,
                     tool_bytes((double)tool_peak_resident(), memory));
    if (n < 0) return;
    if (p->terminal) {
        fprintf(p->to, "\r%s\x1b[K", line); /* to the line's begin, and clear what a longer one left */
        p->open = true, p->share_open = false;
    } else {
        fprintf(p->to, "%s\n", line);
    }
    fflush(p->to);
}

void progress_note(progress *p, const char *fmt, ...) {
    if (p->quiet) return;
    progress_end(p);
    va_list args;
    va_start(args, fmt);
    vfprintf(p->to, fmt, args);
    va_end(args);
    fputc('\n', p->to);
    fflush(p->to);
}

void progress_share(progress *p, const char *doing, int64_t done, int64_t of) {
    enum { SOON = 1 }; /* seconds after which it is worth a line */
    if (p->quiet || !p->terminal) return;
    const double now = ctl_clock();
    if (p->share_began == 0 || done == of) {
        p->share_began = done == of ? 0 : now;
        if (done == of && p->share_open) {
            fputs("\r\x1b[K", p->to);
            fflush(p->to);
            p->open = p->share_open = false;
        }
        return;
    }
    if (now - p->share_began < SOON) return;
    char left[32];
    const double seconds = (now - p->share_began) / (double)done * (double)(of - done);
    fprintf(p->to, "\r%s: %.0f%%  %s left\x1b[K", doing, 100.0 * (double)done / (double)of, tool_seconds(seconds, left));
    p->open = p->share_open = true;
    fflush(p->to);
}

void progress_weights(void *p, const char *doing, int64_t done, int64_t of) { progress_share(p, doing, done, of); }

void progress_evaluation(progress *p, const ctl_evaluation *e) {
    char n[32], text[160];
    progress_note(p, "held out after step %lld: %s", (long long)e->step, tool_evaluation(e, text, sizeof text, n));
}

const char *tool_evaluation(const ctl_evaluation *e, char *text, size_t size, char *count) {
    char bits[48] = "", accuracy[48] = "";
    if (e->bits_per_byte > 0) snprintf(bits, sizeof bits, "  bits/byte %.4f", e->bits_per_byte);
    if (e->accuracy >= 0) snprintf(accuracy, sizeof accuracy, "  accuracy %.2f%%", 100 * e->accuracy);
    snprintf(text, size, "loss %.4f  perplexity %.3f%s%s  (%s labels)", e->loss, e->perplexity, bits, accuracy,
             tool_count(e->counted, count));
    return text;
}
