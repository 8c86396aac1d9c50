/* fibers: one fiber for each thread of a block, switched by hand. Each has a stack with a page that nobody may touch below
 * it. On x86-64 a switch is ten instructions; elsewhere it is swapcontext. AddressSanitizer is told of every switch, so
 * that it knows the stack it is on. */
#ifndef CTL_TESTS_CUDA_FIBERS_H
#define CTL_TESTS_CUDA_FIBERS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

enum { FIBER_STACK = 256 * 1024, FIBER_GUARD = 4096 };

#if defined(__x86_64__)
typedef struct fiber_context {
    void *sp;
} fiber_context;
/* Pushes what a call must keep, changes the stack, pops it there. */
void fiber_swap(fiber_context *from, fiber_context *to);
__asm__(".text\n.type fiber_swap, @function\nfiber_swap:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq (%rsi), %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nretq\n"
        ".size fiber_swap, .-fiber_swap\n");
static void fiber_prepare(fiber_context *c, char *stack, size_t size, void (*entry)(void)) {
    void **top = (void **)(void *)(stack + size);
    *--top = NULL;                     /* where entry would return to: it never does; aligns the stack as a call does */
    *--top = (void *)(uintptr_t)entry; /* where the first switch returns to */
    top -= 6;
    memset(top, 0, 6 * sizeof *top);
    c->sp = top;
}
#else
#include <ucontext.h>
typedef ucontext_t fiber_context;
static void fiber_swap(fiber_context *from, fiber_context *to) { swapcontext(from, to); }
static void fiber_prepare(fiber_context *c, char *stack, size_t size, void (*entry)(void)) {
    getcontext(c);
    c->uc_stack.ss_sp = stack, c->uc_stack.ss_size = size, c->uc_link = NULL;
    makecontext(c, entry, 0);
}
#endif

typedef struct fiber {
    fiber_context context;
    char *held, *stack;
    void *fake; /* AddressSanitizer's */
} fiber;

/* A stack behind its guard, or NULL. */
static char *fiber_stack(void) {
    char *held = mmap(NULL, FIBER_STACK + FIBER_GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (held == MAP_FAILED || mprotect(held, FIBER_GUARD, PROT_NONE)) return NULL;
    return held + FIBER_GUARD;
}
/* stack: of somebody else, or NULL. */
static int fiber_make(fiber *f, char *stack) {
    f->stack = stack ? stack : fiber_stack();
    f->held = f->stack ? f->stack - FIBER_GUARD : NULL;
    return f->stack != NULL;
}
static void fiber_free(fiber *f) { munmap(f->held, FIBER_STACK + FIBER_GUARD); }

/* From the scheduler (whose stack is `main`) to a fiber and back. last: the fiber will not go on. */
static void fiber_enter(fiber *main, fiber *f) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&main->fake, f->stack, FIBER_STACK);
#endif
    fiber_swap(&main->context, &f->context);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(main->fake, NULL, NULL);
#endif
}
static const void *fiber_main_stack;
static size_t fiber_main_size;
static void fiber_started(fiber *f) {
    (void)f;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, &fiber_main_stack, &fiber_main_size);
#endif
}
static void fiber_leave(fiber *f, fiber *main, int last) {
    (void)last;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(last ? NULL : &f->fake, fiber_main_stack, fiber_main_size);
#endif
    fiber_swap(&f->context, &main->context);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(f->fake, &fiber_main_stack, &fiber_main_size);
#endif
}

#endif
