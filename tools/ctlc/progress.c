/* progress: see progress.h. */
#include "tools/ctlc/progress.h"

#include "tools/ctlc/tool.h"

void progress_end(progress *p) {
    if (p->open) fputc('\n', p->to);
    p->open = false;
    fflush(p->to);
}

void progress_step(progress *p, const ctl_progress *now) {
    if (p->quiet) return;
    const int64_t apart = now->steps / 20 > 0 ? now->steps / 20 : 1;
    if (!p->terminal && now->step % apart != 0 && now->step != 1 && now->step != now->steps) return;
    char left[32], memory[32], line[256];
    int n = snprintf(line, sizeof line, "step %lld/%lld  loss %.4f  %.0f tokens/s  %s left  %s resident",
                     (long long)now->step, (long long)now->steps, now->loss, now->tokens_per_second,
                     tool_seconds(now->seconds_left, left), tool_bytes((double)tool_peak_resident(), memory));
    if (n < 0) return;
    if (p->terminal) {
        fprintf(p->to, "\r%s\x1b[K", line); /* to the line's begin, and clear what a longer one left */
        p->open = true;
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

void progress_evaluation(progress *p, const ctl_evaluation *e) {
    char n[32];
    progress_note(p, "held out after step %lld: loss %.4f  perplexity %.3f  bits/byte %.4f  (%s tokens)",
                  (long long)e->step, e->loss, e->perplexity, e->bits_per_byte, tool_count(e->counted, n));
}
