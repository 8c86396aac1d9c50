/* chain: which values a chain of segments keeps, at the least time under every budget at once.
 *
 * Segments run forward 0 .. n - 1, then backward n - 1 .. 0. The backward pass of a segment needs the segment's input and
 * whatever its *option* keeps of its inside; the rest is rebuilt within it. A segment's input may itself be dropped and
 * made again by running forward from an earlier one (nested checkpointing, as in Revolve of Griewank and Walther 2000,
 * over segments that differ and have options, as in Beaumont et al. 2019). With m bytes for everything alive from
 * segment a on, a's input included, the least time over
 *   - an option o of a, with a's input and o kept until a's backward:     rebuild(o) + rest of the chain in m - input - saved(o);
 *   - a place s: keep a's input, run forward to s without keeping, do all from s on in m - input, then come back
 *     for a .. s - 1 with all of m: forward(a .. s - 1) + both.
 * The tables are exact but for the unit in which bytes are counted: sizes are rounded up to it. Nothing here knows
 * graphs: numbers only. */
#ifndef CTL_CHAIN_H
#define CTL_CHAIN_H

#include "base/base.h"

typedef struct ctl_chain_option {
    int64_t saved;         /* bytes kept inside, beside the segment's input */
    int64_t forward_peak;  /* most bytes alive while forward runs and keeps them; input, kept values and output included */
    int64_t backward_peak; /* most bytes alive during backward; input and kept values included */
    double rebuild;        /* seconds of backward spent on rebuilding, beyond elementwise work that is done anyway */
    double keep;           /* seconds to compute the kept values alone, from the input */
    int32_t name;          /* the caller's */
} ctl_chain_option;

typedef struct ctl_chain_segment {
    uint32_t class_of;     /* segments of one class have equal numbers */
    int64_t input;         /* bytes alive between the segment before and this one */
    int64_t own;           /* of them, what the segment behind does not have in its input too */
    int64_t gradient;      /* bytes of gradients and the like alive when this segment's backward begins */
    double forward;        /* seconds of forward */
    int64_t plain_peak;    /* most bytes alive while forward runs and keeps nothing; input and output included */
    const ctl_chain_option *options; /* the first is the one with nothing recomputed */
    size_t noptions;
} ctl_chain_segment;

/* What to do, in order. The first forward is in ctl_chain_plan; these stand between and after it. */
typedef enum ctl_chain_verb {
    CHAIN_FORWARD,  /* segment, from its input: makes the next one's input; keeps what `option` says (NONE: nothing) */
    CHAIN_KEEP,     /* the same, but computes only what the option keeps */
    CHAIN_BACKWARD, /* segment: what is not kept is rebuilt from its input */
    CHAIN_FORGET    /* the segment's input is needed no more */
} ctl_chain_verb;
enum { CHAIN_NONE = -1 };
typedef struct ctl_chain_step {
    ctl_chain_verb verb;
    uint32_t segment;
    int32_t option;
} ctl_chain_step;

typedef struct ctl_chain_plan {
    bool *keep_input;   /* of each segment, whether the first forward keeps its input */
    int32_t *option;    /* of each segment: what the first forward keeps of it; CHAIN_NONE: nothing */
    ctl_chain_step *steps; /* backward, with what is run forward again */
    size_t nsteps;
    int64_t bytes;      /* the least budget with this plan, as the tables count */
    double extra;       /* seconds */
} ctl_chain_plan;

typedef struct ctl_chain ctl_chain;

/* Solves for every budget up to most_bytes (0: up to what the first options need). Chains of more than 512 segments try
 * only some of the places to come back to. */
const ctl_chain *ctl_chain_solve(ctl_arena *arena, const ctl_chain_segment *segments, size_t n, int64_t most_bytes);
int64_t ctl_chain_unit(const ctl_chain *chain);
/* Least budget that any plan keeps. */
int64_t ctl_chain_least(const ctl_chain *chain);
/* Budget from which nothing is gained. */
int64_t ctl_chain_most(const ctl_chain *chain);
/* Least extra seconds within a budget; infinite below ctl_chain_least. Falls as the budget grows. */
double ctl_chain_extra(const ctl_chain *chain, int64_t budget);
/* The plan; false below the least. */
bool ctl_chain_plan_for(const ctl_chain *chain, ctl_arena *arena, int64_t budget, ctl_chain_plan *out);

typedef struct ctl_chain_point {
    int64_t bytes;
    double extra;
} ctl_chain_point;
/* All (budget, extra) at which something changes, from the least up. */
size_t ctl_chain_pareto(const ctl_chain *chain, ctl_arena *arena, ctl_chain_point **out);

#endif
