/* The tables of chain.h against plain recursion over the same decisions, on thousands of random chains and budgets; and every
 * plan run by a simulator that counts bytes and seconds as they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "compiler/remat/chain.h"

enum { MOST = 7, MOST_OPTIONS = 3 };

static uint64_t seed;
static uint32_t draw(uint32_t below) {
    uint32_t out[4], counter[4] = {(uint32_t)seed, (uint32_t)(seed >> 32), 7, 7};
    seed++;
    ctl_philox(counter, 4321, out);
    return out[0] % below;
}

typedef struct chain {
    ctl_chain_segment at[MOST];
    ctl_chain_option options[MOST][MOST_OPTIONS];
    size_t n;
} chain;

/* Random segments of a few classes; sizes are small whole numbers, so that tables count in bytes. */
static void make(chain *c, bool passing) {
    c->n = 1 + draw(MOST);
    size_t classes = 1 + draw(3);
    for (size_t k = 0; k < c->n; k++) {
        uint32_t class = draw((uint32_t)classes);
        size_t same = 0;
        while (same < k && c->at[same].class_of != class) same++;
        if (same < k) {
            c->at[k] = c->at[same];
            memcpy(c->options[k], c->options[same], sizeof c->options[k]);
        } else {
            ctl_chain_segment *s = &c->at[k];
            *s = (ctl_chain_segment){.class_of = class, .input = 1 + draw(6), .gradient = draw(4), .forward = 1 + draw(9),
                                     .noptions = 1 + draw(MOST_OPTIONS)};
            s->own = passing ? 1 + draw((uint32_t)s->input) : s->input;
            for (size_t o = 0; o < s->noptions; o++) {
                int64_t saved = o + 1 == s->noptions ? draw(2) : draw(12);
                c->options[k][o] = (ctl_chain_option){.saved = saved, .forward_peak = s->input + saved + draw(8),
                                                      .backward_peak = s->input + saved + draw(12),
                                                      .rebuild = o ? 1 + draw(9) : 0, .keep = saved ? 1 + draw(5) : 0};
            }
            s->plain_peak = s->input + draw(8);
        }
        c->at[k].options = c->options[k];
    }
}

/* ---- plain recursion ---- */
static int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

static double best(const chain *c, size_t first, size_t end, int64_t m, bool again) {
    const ctl_chain_segment *s = &c->at[first];
    int64_t waiting = again ? c->at[end - 1].gradient : 0;
    double least = INFINITY;
    bool alone = first + 1 == end;
    for (size_t o = 0; o < s->noptions; o++) {
        const ctl_chain_option *q = &s->options[o];
        bool runs = !again || !alone || q->keep > 0;
        int64_t peak = largest(runs ? q->forward_peak + waiting : 0, q->backward_peak);
        if (peak > m || s->own + q->saved > m) continue;
        double time = q->rebuild + (again ? (alone ? q->keep : s->forward) : 0);
        if (!alone) time += best(c, first + 1, end, m - s->own - q->saved, again);
        if (time < least) least = time;
    }
    int64_t peak = 0;
    double forward = 0;
    for (size_t place = first + 1; place < end; place++) {
        size_t k = place - 1;
        peak = largest(peak, c->at[k].plain_peak + waiting + (k > first ? s->input : 0));
        forward += c->at[k].forward;
        int64_t held = place == first + 1 ? s->own : s->input;
        if (peak > m || held > m) continue;
        double time = (again ? forward : 0) + best(c, place, end, m - held, again) + best(c, first, place, m, true);
        if (time < least) least = time;
    }
    return least;
}

/* ---- the simulator ---- */
typedef struct held {
    bool input[MOST];
    int32_t option[MOST]; /* CHAIN_NONE: nothing is kept */
} held;

static int64_t bytes_held(const chain *c, const held *h, size_t except) {
    int64_t bytes = 0;
    for (size_t k = 0; k < c->n; k++) {
        if (k == except) continue;
        if (h->input[k]) bytes += c->at[k].input;
        if (h->option[k] != CHAIN_NONE) bytes += c->at[k].options[h->option[k]].saved;
    }
    return bytes;
}

static void simulate(const chain *c, const ctl_chain_plan *plan) {
    held h;
    int64_t most = 0;
    double seconds = 0, forward = 0;
    for (size_t k = 0; k < c->n; k++) h.input[k] = false, h.option[k] = CHAIN_NONE, forward += c->at[k].forward;
    for (size_t k = 0; k < c->n; k++) { /* the first forward */
        int32_t o = plan->option[k];
        if (plan->keep_input[k]) h.input[k] = true;
        else assert_int_equal(o, CHAIN_NONE);
        int64_t here = o == CHAIN_NONE ? c->at[k].plain_peak : c->at[k].options[o].forward_peak;
        most = largest(most, bytes_held(c, &h, k) + here);
        h.option[k] = o;
        seconds += c->at[k].forward;
    }
    size_t left = c->n;
    for (size_t j = 0; j < plan->nsteps; j++) {
        const ctl_chain_step *step = &plan->steps[j];
        size_t k = step->segment;
        const ctl_chain_segment *s = &c->at[k];
        int64_t others = bytes_held(c, &h, k);
        assert_true(k < left && h.input[k]);
        if (step->verb == CHAIN_FORGET) {
            h.input[k] = false;
        } else if (step->verb == CHAIN_BACKWARD) {
            assert_int_equal(k, left - 1);
            const ctl_chain_option *o = &s->options[step->option];
            if (h.option[k] != CHAIN_NONE) assert_int_equal(h.option[k], step->option);
            else assert_true(o->keep == 0);
            most = largest(most, others + o->backward_peak);
            seconds += o->rebuild;
            h.input[k] = false, h.option[k] = CHAIN_NONE;
            left--;
        } else {
            int64_t waiting = c->at[left - 1].gradient;
            int64_t here = step->option == CHAIN_NONE ? s->plain_peak : s->options[step->option].forward_peak;
            most = largest(most, others + here + waiting);
            seconds += step->verb == CHAIN_FORWARD ? s->forward : s->options[step->option].keep;
            h.option[k] = step->option;
            if (step->verb == CHAIN_FORWARD) h.input[k + 1] = true;
        }
    }
    assert_int_equal(left, 0);
    if (most > plan->bytes) fail_msg("a plan of %lld bytes takes %lld", (long long)plan->bytes, (long long)most);
    if (fabs(seconds - forward - plan->extra) > 1e-3 * (1 + plan->extra))
        fail_msg("a plan of %g extra seconds takes %g", plan->extra, seconds - forward);
}

static void compare(int rounds, bool passing) {
    for (volatile int round = 0; round < rounds; round++) {
        chain c;
        ctl_arena arena;
        jmp_buf failed;
        make(&c, passing);
        ctl_arena_init(&arena, NULL, &failed);
        assert_int_equal(setjmp(failed), 0);
        const ctl_chain *solved = ctl_chain_solve(&arena, c.at, c.n, 0);
        assert_int_equal(ctl_chain_unit(solved), 1);
        double before = INFINITY;
        for (int64_t m = 0; m <= ctl_chain_most(solved) + 3; m++) {
            double found = ctl_chain_extra(solved, m), expected = best(&c, 0, c.n, m, false);
            if (!(found == expected || fabs(found - expected) < 1e-3))
                fail_msg("round %d, %lld bytes: %g, not %g", round, (long long)m, found, expected);
            assert_true(found <= before);
            before = found;
            ctl_chain_plan plan;
            bool planned = ctl_chain_plan_for(solved, &arena, m, &plan);
            assert_int_equal(planned, isfinite(expected));
            if (!planned) continue;
            assert_true(plan.bytes <= m);
            if (!passing) simulate(&c, &plan); /* what inputs share is not simulated */
        }
        ctl_chain_point *points;
        size_t n = ctl_chain_pareto(solved, &arena, &points);
        assert_true(n > 0 && points[0].bytes == ctl_chain_least(solved));
        for (size_t k = 1; k < n; k++)
            assert_true(points[k].bytes > points[k - 1].bytes && points[k].extra < points[k - 1].extra);
        ctl_arena_free(&arena);
    }
}

static void test_tables(void **state) { (void)state; compare(1500, false); }
static void test_shared_inputs(void **state) { (void)state; compare(500, true); }

/* A chain of equal blocks of two halves, with ranges that share their rows: as exact as one whose classes differ. */
static void test_equal_ranges(void **state) {
    (void)state;
    chain c;
    for (volatile int round = 0; round < 50; round++) {
        ctl_arena arena;
        jmp_buf failed;
        make(&c, false);
        size_t n = MOST;
        for (size_t k = 2; k < n; k++) {
            c.at[k] = c.at[k % 2];
            c.at[k].class_of = (uint32_t)(k % 2);
        }
        if (c.n < 2) continue;
        c.at[0].class_of = 0, c.at[1].class_of = 1;
        c.n = n;
        ctl_arena_init(&arena, NULL, &failed);
        assert_int_equal(setjmp(failed), 0);
        const ctl_chain *shared = ctl_chain_solve(&arena, c.at, n, 0);
        for (size_t k = 0; k < n; k++) c.at[k].class_of = (uint32_t)k;
        const ctl_chain *apart = ctl_chain_solve(&arena, c.at, n, 0);
        for (int64_t m = 0; m <= ctl_chain_most(apart); m++) {
            double a = ctl_chain_extra(shared, m), b = ctl_chain_extra(apart, m);
            if (!(a == b || fabs(a - b) < 1e-3)) fail_msg("%lld bytes: %g and %g", (long long)m, a, b);
        }
        ctl_arena_free(&arena);
    }
}

/* Larger units round up: what they promise is kept, and at the most one unit a value is lost. */
static void test_units(void **state) {
    (void)state;
    ctl_arena arena;
    jmp_buf failed;
    ctl_arena_init(&arena, NULL, &failed);
    assert_int_equal(setjmp(failed), 0);
    enum { N = 64 };
    ctl_chain_option options[2] = {{100003, 140009, 150011, 0, 2, 0}, {0, 40009, 150011, 1, 0, 1}};
    ctl_chain_segment at[N];
    for (size_t k = 0; k < N; k++) at[k] = (ctl_chain_segment){0, 33331, 33331, 777, 2, 40009, options, 2};
    const ctl_chain *solved = ctl_chain_solve(&arena, at, N, 0);
    int64_t unit = ctl_chain_unit(solved);
    assert_true(unit > 1);
    /* Every input kept and nothing inside, but for the last segment, whose inside is never in the way: 63 seconds. */
    int64_t flat = 63 * 33331 + 150011;
    assert_true(ctl_chain_extra(solved, flat + 65 * unit) <= 63);
    assert_true(ctl_chain_extra(solved, flat - 1) > 63);
    const ctl_chain *fine = ctl_chain_solve(&arena, at, N, flat + flat / 8);
    assert_true(ctl_chain_unit(fine) < unit);
    assert_true(ctl_chain_extra(fine, flat + 65 * ctl_chain_unit(fine)) <= 63);
    ctl_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables), cmocka_unit_test(test_shared_inputs),
                                       cmocka_unit_test(test_equal_ranges), cmocka_unit_test(test_units)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
