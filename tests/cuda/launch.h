/* launch: what a test says to a kernel source that was compiled for the host (host.h). */
#ifndef CTL_TESTS_CUDA_LAUNCH_H
#define CTL_TESTS_CUDA_LAUNCH_H

#include <stddef.h>

enum { HOST_FAULT = 512 };
typedef enum host_order { HOST_ROUND_ROBIN, HOST_WARP_GREEDY, HOST_REVERSE, HOST_ORDERS } host_order;
typedef enum host_landing { HOST_AT_ISSUE, HOST_AT_WAIT, HOST_LANDINGS } host_landing; /* of asynchronous copies */

typedef struct host_launch_of {
    void (*kernel)(const void *call);
    const void *call;
    int grid[3], threads;
    int bound;          /* most threads of a block that the kernel was compiled for */
    size_t shared, most_shared;
    host_order order;
    host_landing landing;
} host_launch_of;

/* Of a watched kernel (accesses.h): what a line of its source did with memory. */
typedef struct host_accesses {
    unsigned long long times, lanes, bytes; /* by warps, by threads; bytes that threads asked for */
    unsigned long long moves, least; /* sectors, or turns of shared memory; and the least possible for the same */
} host_accesses;
typedef struct host_access_line {
    char kernel[64], text[160];
    int line, shared, how, bytes; /* how: as of watch.h */
    host_accesses n;
} host_access_line;

/* 1; or 0 and a sentence in fault[HOST_FAULT]. One launch at a time. */
typedef int host_launch_fn(const host_launch_of *launch, char *fault);
int host_launch(const host_launch_of *launch, char *fault);

#endif
