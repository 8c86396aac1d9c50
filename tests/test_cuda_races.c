/* The watch over kernels that run on the host (tests/cuda/races.h): accesses that nothing orders are found,
 * under one order of threads in which all results are right; accesses that a barrier orders are not. Each
 * kernel here is a few lines, so it is known which it has. (test_cuda_attend, test_cuda_tasks,
 * test_cuda_build and test_cuda_rows hold the compiler's kernels against it.) */
#include "tests/cuda/kernels.h"

typedef struct trial {
    const char *body, *finds; /* finds NULL: nothing */
} trial;

/* Two blocks of 64 threads: t is the thread, w its warp, s[256] shared memory, g[256] and h[256] global. */
static const trial trials[] = {
    /* a block's barrier */
    {"s[t] = t; SYNC_BLOCK(); g[BLOCK * 64 + t] = s[63 - t];", NULL},
    {"s[t] = t; g[BLOCK * 64 + t] = s[t];", NULL},
    {"s[t] = t; s[64] = 0; SYNC_BLOCK();",
     "it writes shared memory (byte 256) by `KERNEL_BODY`, what thread 0 of this block writes"},
    {"if (t == 9) s[0] = 1; SYNC_BLOCK(); g[BLOCK * 64 + t] = s[0]; if (t == 50) s[0] = 2;", "reads"},
    {"if (t == 9) s[0] = 1; SYNC_BLOCK(); g[BLOCK * 64 + t] = s[0]; SYNC_BLOCK(); if (t == 50) s[0] = 2;",
     NULL},
    /* a warp's, which is none between warps */
    {"s[t] = t; SYNC_WARP(); g[BLOCK * 64 + t] = s[t ^ 1];", NULL},
    {"s[t] = t; SYNC_WARP(); g[BLOCK * 64 + t] = s[63 - t];", "what thread"},
    {"s[t] = t; g[BLOCK * 64 + t] = s[t & ~1];",
     "it reads shared memory (byte 0) by `KERNEL_BODY`, what thread 0 of this block writes"},
    {"s[t] = 0; SYNC_WARP(); g[BLOCK * 64 + t] = s[t ^ 1]; s[t] = 1;", "reads shared memory (byte 0)"},
    {"s[t] = 0; SYNC_WARP(); const int x = t % 2 ? 0 : s[t ^ 1]; if (t % 2) s[t] = 1; g[BLOCK * 64 + t] = x;",
     "writes shared memory (byte 4)"},
    {"s[t] = 0; SYNC_WARP(); g[BLOCK * 64 + t] = s[t ^ 1]; SYNC_WARP(); s[t] = 1;", NULL},
    /* what the last of several reads would hide: a reader of another warp, and of one's own that has not met
       since */
    {"if (t == 0) s[0] = 1; SYNC_BLOCK(); int x = t == 40 ? s[0] : 0; SYNC_WARP(); x += t < 3 ? s[0] : 0; "
     "SYNC_WARP(); g[BLOCK * 64 + t] = x; if (t == 2) s[0] = x;",
     "what thread 40 of this block reads"},
    {"if (t == 0) s[0] = 1; SYNC_BLOCK(); int x = t < 32 ? s[0] : 0; g[BLOCK * 64 + t] = x; if (t == 31) "
     "s[0] = x;",
     "reads"},
    {"if (t == 0) s[0] = 1; SYNC_BLOCK(); int x = t < 32 ? s[0] : 0; SYNC_WARP(); g[BLOCK * 64 + t] = x; if "
     "(t == 31) s[0] = x;",
     NULL},
    /* halves of a word */
    {"((bf16 *)s)[t] = 1; SYNC_WARP(); g[BLOCK * 64 + t] = ((bf16 *)s)[t ^ 1];", NULL},
    {"((bf16 *)s)[t] = 1; g[BLOCK * 64 + t] = s[t / 2];", "reads shared memory"},
    /* shuffles order nothing */
    {"s[t] = t; SHUFFLE_XOR(1.0f, 1); g[BLOCK * 64 + t] = s[t ^ 1];", "reads shared memory"},
    /* 16 bytes at once */
    {"if (t < 16) { const quad q = {0, 1, 2, 3}; STORE_QUAD(s + 4 * t, q); } SYNC_BLOCK(); g[BLOCK * 64 + t] "
     "= s[t];",
     NULL},
    {"if (t < 16) { const quad q = {0, 1, 2, 3}; STORE_QUAD(s + 4 * t, q); } g[BLOCK * 64 + t] = s[t];",
     "reads shared memory"},
    {"s[t] = 0; if (t % 4 == 0) g[t] = LOAD_QUAD(s + t).w;", "that nobody has written"},
    {"s[t] = 0; if (t % 4 == 3) g[t] = LOAD_QUAD(s + t - 3).w;", "reads shared memory"},
    /* memory of all blocks */
    {"g[BLOCK * 64 + t] = h[t];", NULL},
    {"g[t] = t;", "it writes global memory (byte 0) by `KERNEL_BODY`, what thread 0 of another block writes"},
    {"SYNC_BLOCK(); if (BLOCK == 0) g[t] = t; else h[t] = g[t] + 1;",
     "what thread 0 of another block writes"},
    {"if (BLOCK == 0) h[t] = g[t] + 1; SYNC_BLOCK(); if (BLOCK == 1) g[t] = 1;",
     "what thread 0 of another block reads"},
    {"h[BLOCK * 64 + t] = g[t]; SYNC_BLOCK(); if (BLOCK == 1) g[t] = 1;",
     "what thread 0 of another block reads"},
    /* shared memory that nobody has written, in this block */
    {"if (BLOCK == 0) s[t] = 1; SYNC_BLOCK(); g[BLOCK * 64 + t] = s[t];",
     "block (1, 0, 0), thread 0: it reads shared memory that nobody has written (byte 0)"},
    /* asynchronous copies: seen by their thread behind its wait, by others behind a barrier too */
    {"copy_async(b + 8 * t, f + 8 * t, 16); copy_commit(); COPY_WAIT(0); SYNC_BLOCK(); g[BLOCK * 64 + t] = "
     "s[t];",
     NULL},
    {"copy_async(b + 8 * t, f + 8 * t, 16); copy_commit(); COPY_WAIT(0); g[BLOCK * 64 + t] = s[4 * t];",
     NULL},
    {"copy_async(b + 8 * t, f + 8 * t, 16); copy_commit(); COPY_WAIT(0); g[BLOCK * 64 + t] = s[t];",
     "reads shared memory"},
    {"copy_async(b + 8 * t, f + 8 * t, 16); copy_commit(); SYNC_BLOCK(); COPY_WAIT(0); g[BLOCK * 64 + t] = "
     "s[t];",
     "reads shared memory"},
    {"copy_async(b + 8 * t, f + 8 * t, 16); copy_commit(); g[BLOCK * 64 + t] = s[4 * t]; COPY_WAIT(0);",
     "thread 0 of this block copies there without having waited"},
    {"copy_async(b + 8 * t, f + 8 * t, 16); copy_commit(); COPY_WAIT(1); SYNC_BLOCK(); g[BLOCK * 64 + t] = "
     "s[t]; COPY_WAIT(0);",
     "without having waited"},
    {"copy_async(b + 8 * t, f + 8 * t, 16); COPY_WAIT(0); SYNC_BLOCK(); copy_commit(); COPY_WAIT(0); g[BLOCK "
     "* 64 + t] = s[4 * t];",
     NULL},
    {"copy_async(b + 8 * t, f + 8 * t, 16); COPY_WAIT(0); SYNC_BLOCK(); g[BLOCK * 64 + t] = s[4 * t];",
     "without having waited"},
    {"copy_async(b + 8 * t, f + 8 * t, 16); copy_commit();", "it ends with copies that nobody waited for"},
    {"if (t == 1) s[160] = 2; copy_async(b + 8 * t, f, 16); copy_commit(); COPY_WAIT(0);",
     "it copies to shared memory"},
    {"copy_async(b + 8 * t, f, 16); copy_async(b + 8 * t, f + 8, 16); copy_commit(); COPY_WAIT(0);",
     "copies to"},
    {"copy_async(b + 8 * t, f + 8 * t, 16); h[4 * t] = 1; copy_commit(); COPY_WAIT(0);",
     "copies from there without having waited"},
    {"copy_async(b + 8 * t, f + 8 * t, 0); h[4 * (BLOCK * 32 + t / 2)] = 1; copy_commit(); COPY_WAIT(0);",
     "it writes global memory"},
    {"copy_async(b + 8 * t, f + 8 * t, 0); copy_commit(); COPY_WAIT(0); SYNC_BLOCK(); g[BLOCK * 64 + t] = "
     "s[t];",
     NULL},
};

static void test_detector(void **state) {
    (void)state;
    skip_under_sanitizers();
    static const char *const names[] = {"prelude", "tensor_prelude", NULL};
    char *preludes = kernel_source("", names, 0, NULL, NULL, 0);
    size_t size = strlen(preludes) + 1;
    for (size_t k = 0; k < sizeof trials / sizeof *trials; k++) size += strlen(trials[k].body) + 300;
    char *source = malloc(size);
    assert_non_null(source);
    int n = sprintf(source, "%stypedef struct two { int *g, *h; } two;\n", preludes);
    for (size_t k = 0; k < sizeof trials / sizeof *trials; k++)
        n += sprintf(source + n,
                     "KERNEL(trial_%zu, two, 64) { SHARED(int, s); const int t = THREAD; int *const g = "
                     "call.g, *const h = call.h;\n"
                     "bf16 *const b = (bf16 *)s, *const f = (bf16 *)h; (void)b, (void)f;\n%s\n}\n",
                     k, trials[k].body);
    for (int optimised = 0; optimised < 2; optimised++) {
        launcher l = {.object.watched = optimised ? WATCHED_LINES : WATCHED};
        const char *why =
            shared_object_open(&l.object, (const char *const *)&source, 1, optimised ? "-O1" : "-O0");
        if (why) fail_msg("%s", why);
        for (size_t k = 0; k < sizeof trials / sizeof *trials; k++) {
            _Alignas(16) int g[256] = {0}, h[256] = {0};
            struct {
                int *g, *h;
            } call = {g, h};
            char kernel[32], want[512], body[160];
            snprintf(kernel, sizeof kernel, "trial_%zu", k);
            const bool ok = launch(&l, kernel, &call, 2, 1, 64, 1024);
            if (!trials[k].finds) {
                if (!ok) fail_msg("%s\n%s", trials[k].body, l.fault);
                continue;
            }
            snprintf(want, sizeof want, "%s", trials[k].finds);
            snprintf(body, sizeof body, "%.159s", trials[k].body);
            char *at = strstr(want, "KERNEL_BODY");
            if (at) {
                char rest[256];
                snprintf(rest, sizeof rest, "%s", at + strlen("KERNEL_BODY"));
                snprintf(at, sizeof want - (size_t)(at - want), "%s%s", body, rest);
            }
            if (ok || !strstr(l.fault, want))
                fail_msg("%s\nfound: %s\nnot: %s", trials[k].body, ok ? "nothing" : l.fault, want);
        }
        shared_object_close(&l.object);
    }
    free(source), free(preludes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_detector)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
