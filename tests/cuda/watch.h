/* watch: what host.h tells watch_runtime.c of a kernel that runs: its accesses to memory, by whom and from
 * where in the code; the barriers that a thread has passed; asynchronous copies. And what a program asks of
 * it through the kernel's shared object. */
#ifndef CTL_TESTS_CUDA_WATCH_H
#define CTL_TESTS_CUDA_WATCH_H

#include <stddef.h>

/* HOST_MATRICES: the thread's row of ldmatrix. HOST_FETCHES and HOST_LANDS: an asynchronous copy's two ends.
 */
enum { HOST_READS, HOST_WRITES, HOST_MATRICES, HOST_FETCHES, HOST_LANDS };

HOST_OWN void host_touch(const void *p, size_t bytes, int how, const void *code);
HOST_OWN void host_met(int barrier); /* HOST_AT_WARP or HOST_AT_BLOCK: this thread goes on behind one */
HOST_OWN void host_copy_begins(const void *to, const void *from, size_t bytes, int group,
                               const void *code); /* bytes: of 16 */
HOST_OWN void host_copies_end(int group);         /* this thread has waited for its groups before this one */
HOST_OWN void host_block_begins(void);
HOST_OWN void host_thread_ends(void);
#define HOST_BEGINS() host_block_begins()
#define HOST_ENDS()   host_thread_ends()

#endif
