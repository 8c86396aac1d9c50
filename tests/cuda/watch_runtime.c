/* watch_runtime: host.h's threads, and what watches them: linked to a kernel that was compiled with HOST_WATCH and
 * -fsanitize=thread, in the place of host_runtime.c and of that sanitizer's own library. It sees each access of a thread to memory
 * that is not its own stack. Either races are looked for, or accesses are counted. */
#define HOST_RUNTIME 1
#define HOST_WATCH   1
#include "tests/cuda/host.h"

#include "tests/cuda/accesses.h"
#include "tests/cuda/races.h"

void host_touch(const void *p, size_t bytes, int how, const void *code) {
    if (!host.now) return; /* outside of a kernel */
    if ((uintptr_t)p - (uintptr_t)host_fibers[host.now->index].stack < FIBER_STACK) return;
    if ((uintptr_t)p - (uintptr_t)&host < sizeof host) return; /* what THREAD and its like read */
    const struct race_time *t = &race_times[host.now->index];
    if (!access_is_on()) race_access_of(p, bytes, how == HOST_WRITES, site_of(code));
    else access_note(p, bytes, how, race_is_shared(p), site_of(code), t->at_block, t->at_warp);
}
void host_met(int barrier) {
    struct race_time *t = &race_times[host.now->index];
    if (barrier == HOST_AT_BLOCK)
        t->at_block++;
    else
        t->at_warp++;
}
void host_copy_begins(const void *to, const void *from, size_t bytes, int group, const void *code) {
    if (!access_is_on()) {
        race_copy_begins(to, from, bytes, group, site_of(code));
        return;
    }
    if (bytes) host_touch(from, bytes, HOST_FETCHES, code);
    host_touch(to, 16, HOST_LANDS, code);
}
void host_copies_end(int group) { race_copies_end(group); }
void host_block_begins(void) {
    if (access_is_on()) access_block_ends(); /* the one before */
    race_block_begins(!host.block[0] && !host.block[1] && !host.block[2]);
}
void host_thread_ends(void) {
    if (race_ncopies[host.now->index]) host_fail("it ends with copies that nobody waited for");
}

/* For who has loaded the object. */
void host_watch_forget(void), host_watch_count(void);
int host_watch_lines(host_access_line *lines, int most);
void host_watch_forget(void) { race_forget(); }
void host_watch_count(void) { access_on = 1; }
int host_watch_lines(host_access_line *lines, int most) {
    access_block_ends();
    return access_lines(lines, most);
}
__attribute__((destructor)) static void watch_ends(void) {
    if (!getenv("CTL_CUDA_WATCH") || !access_is_on()) return;
    access_block_ends();
    access_print(stderr);
}

/* ---- what the compiler calls ---- */
#define SEEN(name, bytes, how)                                                                               \
    void name(const void *p);                                                                                \
    void name(const void *p) {                                                                               \
        host_touch(p, bytes, how, __builtin_return_address(0));                                              \
    }
#define SEEN_BOTH(bytes)                                                                                     \
    SEEN(__tsan_read##bytes, bytes, HOST_READS)                                                              \
    SEEN(__tsan_write##bytes, bytes, HOST_WRITES)                                                            \
    SEEN(__tsan_unaligned_read##bytes, bytes, HOST_READS)                                                    \
    SEEN(__tsan_unaligned_write##bytes, bytes, HOST_WRITES)
SEEN_BOTH(1)
SEEN_BOTH(2)
SEEN_BOTH(4)
SEEN_BOTH(8)
SEEN_BOTH(16)
void __tsan_read_range(const void *p, size_t bytes), __tsan_write_range(const void *p, size_t bytes);
void __tsan_read_range(const void *p, size_t bytes) {
    host_touch(p, bytes, HOST_READS, __builtin_return_address(0));
}
void __tsan_write_range(const void *p, size_t bytes) {
    host_touch(p, bytes, HOST_WRITES, __builtin_return_address(0));
}
void __tsan_init(void), __tsan_func_entry(void *caller), __tsan_func_exit(void);
void __tsan_init(void) {}
void __tsan_func_entry(void *caller) {
    (void)caller;
}
void __tsan_func_exit(void) {}
