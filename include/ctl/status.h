/* Statuses and allocation, shared by the compiler's and the runtime's public headers.
 *
 * No function of the libraries prints, exits or aborts. Each returns a ctl_status; what went wrong is said in a
 * ctl_diagnostic handed to the caller's callback (diagnostic.h), at most a few for one call. */
#ifndef CTL_STATUS_H
#define CTL_STATUS_H

#include <stddef.h>

typedef enum ctl_status {
    CTL_OK = 0,
    CTL_ERR_MEMORY,      /* an allocation failed; everything already saved is intact */
    CTL_ERR_INPUT,       /* the user's spec, data, tensors or arguments are wrong */
    CTL_ERR_IO,          /* the operating system refused: no such file, disk full, ... */
    CTL_ERR_UNSUPPORTED, /* legal, but not to be had in this build or on this machine */
    CTL_ERR_BUDGET,      /* no plan keeps the memory that there is */
    CTL_ERR_NUMERIC,     /* a loss or gradient is not finite */
    CTL_INTERRUPTED,     /* the caller asked to stop; state is saved */
    CTL_ERR_INTERNAL     /* a defect of ctlc: a verifier or checker failed */
} ctl_status;

/* Short English name of a status, static storage. */
const char *ctl_status_name(ctl_status status);

/* How the libraries get memory. resize works as realloc with the old size given: ptr NULL allocates, new_size 0
 * frees and returns NULL. It may return NULL for any growth; the library then returns CTL_ERR_MEMORY. Results are
 * aligned for max_align_t. A NULL ctl_allocator pointer in an options struct means malloc. */
typedef struct ctl_allocator {
    void *ctx;
    void *(*resize)(void *ctx, void *ptr, size_t old_size, size_t new_size);
} ctl_allocator;

#endif
