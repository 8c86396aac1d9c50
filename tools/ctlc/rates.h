/* rates: how fast this machine's CPU is, as `ctlc calibrate` measured it, in a file of the user's cache. Plans use it instead of
 * modelled rates. */
#ifndef CTLC_RATES_H
#define CTLC_RATES_H

#include <stdbool.h>

#include "runtime/say.h"

enum { RATES = 4 }; /* operations a second of f32 products, bf16 products, attention; bytes a second: of `threads` threads */
typedef struct rates {
    double at[RATES];
    int threads;
} rates;

/* False where nothing was measured with so many threads, or the file cannot be read. */
bool rates_read(int threads, rates *out);
ctl_status rates_write(const rates *r, ctl_voice voice);
/* Where they are kept: $XDG_CACHE_HOME/ctlc/rates.json, else ~/.cache/ctlc/rates.json; to be freed by the caller. NULL: no
 * home. */
char *rates_path(void);

#endif
