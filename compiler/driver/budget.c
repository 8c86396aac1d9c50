/* budget: from the memory there is to a program that keeps it.
 *
 * Without a budget forward keeps what makes backward fastest (remat/save.c). With one, the planner's tables (remat/remat.h)
 * give candidates, for every number of parts that a batch of sequences can go through in: plans at fixed distances in bytes,
 * none both larger and slower than another. Tables are predictions and a program's arena is the truth, so
 * candidates are lowered, the fastest first, until one keeps to the budget. Candidates do not depend on the budget: hence
 * more memory never means a slower step, nor a plan that takes fewer bytes. */
#include "compiler/driver/unit.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "compiler/plan/equal.h"
#include "compiler/remat/cost.h"
#include "compiler/remat/measure.h"
#include "compiler/remat/remat.h"
#include "compiler/remat/segments.h"

enum { MOST_SPLITS = 64, STEPS_OF_RANGE = 192, LARGE_GRAPH = 3000 };
/* How far a program's step may lie below its prediction: plans predicted so much above the budget are tried. */
static const double SLACK_SMALL = 0.08, SLACK_LARGE = 0.01;

typedef struct part { /* a batch in so many parts */
    int64_t split;
    const ctl_planner *measured;  /* NULL until it is needed */
    const ctl_planner *predicted; /* measured, or that of the whole batch, whose bytes are divided by `divisor` */
    int64_t divisor;
    double time;                  /* and times multiplied by this */
} part;

typedef struct candidate {
    part *of;
    int64_t step, bytes; /* predicted: of the step region; of everything */
    double seconds;      /* of an optimizer step */
} candidate;

typedef struct budgeter {
    ctl_unit *u;
    ctl_lower_options lower;
    ctl_rates rates;
    part parts[MOST_SPLITS];
    size_t nparts;
    CTL_VEC(candidate) all; /* fastest first */
    double slack;
    int64_t segments;
    double base; /* seconds of a step of least time, unsplit */
    ctl_graph *planned;
    ctlc_plan report;
} budgeter;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double flops_of(const ctl_graph *g) {
    double flops = 0;
    for (ctl_node_id id = 0; id < g->n; id++)
        if (g->at[id].rate == RATE_STEP && g->at[id].entry != ENTRY_EVALUATE) flops += ctl_node_flops(g, id);
    return flops;
}

static double seconds_of(const budgeter *b, const ctl_graph *g) {
    double seconds = 0;
    for (ctl_node_id id = 0; id < g->n; id++)
        if (g->at[id].rate == RATE_STEP && g->at[id].entry != ENTRY_EVALUATE) seconds += ctl_node_seconds(g, id, &b->rates);
    return seconds;
}

/* Whole sequences alone can go one after the other: documents packed into one row of tokens cannot. */
static int64_t sequences(const ctl_graph *g) {
    return g->sequence > 0 ? g->rows_of[SPACE_TOKENS] / g->sequence : 1;
}

/* ---- candidates ---- */
static void add_table(budgeter *b, part *of, const ctl_chain *table) {
    const ctl_planner *p = of->predicted;
    ctl_chain_point *points;
    size_t n = ctl_chain_pareto(table, b->u->arena, &points);
    int64_t distance = n ? (points[n - 1].bytes - points[0].bytes) / STEPS_OF_RANGE : 0, next = 0;
    for (size_t k = 0; k < n; k++) {
        if (k > 0 && k + 1 < n && points[k].bytes < next) continue;
        next = points[k].bytes + distance;
        int64_t step = points[k].bytes / of->divisor;
        double seconds = (double)of->split * of->time * (p->seconds + points[k].extra);
        CTL_PUSH(b->u->arena, &b->all, (candidate){of, step, p->fixed + step, seconds});
    }
}

static int by_seconds(const void *left, const void *right) {
    const candidate *a = left, *b = right;
    if (a->seconds != b->seconds) return a->seconds < b->seconds ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return a->of->split < b->of->split ? -1 : a->of->split > b->of->split;
}

static void find_candidates(budgeter *b) {
    for (size_t k = 0; k < b->nparts; k++) {
        part *of = &b->parts[k];
        if (of->predicted->solved) add_table(b, of, of->predicted->solved);
        if (of->predicted->fine) add_table(b, of, of->predicted->fine);
        if (!of->predicted->solved)
            CTL_PUSH(b->u->arena, &b->all,
                     (candidate){of, 0, of->predicted->fixed, (double)of->split * of->time * of->predicted->seconds});
    }
    qsort(b->all.at, b->all.n, sizeof *b->all.at, by_seconds);
    size_t kept = 0;
    for (size_t k = 0; k < b->all.n; k++)
        if (kept == 0 || b->all.at[k].bytes < b->all.at[kept - 1].bytes) b->all.at[kept++] = b->all.at[k];
    b->all.n = kept;
}

static bool make_parts(budgeter *b) {
    ctl_unit *u = b->u;
    const char *why = NULL;
    double begin = now();
    const ctl_planner *whole = ctl_planner_make(u->arena, u->graph, &b->lower, &b->rates, &why);
    if (!whole) {
        ctl_unit_fail(u, CTL_ERR_UNSUPPORTED, "planning", why);
        return false;
    }
    b->base = whole->seconds;
    int64_t most = u->options->may_split ? sequences(u->graph) : 1, only = u->options->may_split ? u->options->split : 0;
    for (int64_t split = 1; split <= most && b->nparts < MOST_SPLITS; split++) {
        if (most % split != 0 || (only && split != only)) continue;
        part p = {split, split == 1 ? whole : NULL, whole, 1, 1};
        ctl_graph *g = split > 1 ? ctl_graph_divided(u->graph, split) : u->graph;
        if (split > 1 && u->graph->n <= LARGE_GRAPH) { /* scratch, which is not divided, counts there */
            p.predicted = p.measured = ctl_planner_make(u->arena, g, &b->lower, &b->rates, &why);
        } else if (split > 1) {
            p.divisor = split, p.time = seconds_of(b, g) / whole->seconds;
        }
        if (p.predicted) b->parts[b->nparts++] = p;
    }
    if (b->nparts == 0) {
        ctl_error(&u->sink, CTL_E0505, CTL_NO_SPAN, "a batch of sequences goes through in a divisor of their number",
                  "%lld sequences cannot go through in %lld parts", (long long)most, (long long)only);
        u->status = CTL_ERR_INPUT;
        return false;
    }
    find_candidates(b);
    b->slack = u->graph->n > LARGE_GRAPH ? SLACK_LARGE : SLACK_SMALL;
    b->report.solve_seconds = whole->solve_seconds, b->report.measure_seconds = now() - begin - whole->solve_seconds;
    b->report.is_chain = whole->is_chain;
    b->segments = (int64_t)(whole->segments->n - whole->segments->first);
    return true;
}

/* ---- points ---- */
static void find_points(budgeter *b) {
    ctl_arena *arena = b->u->arena;
    ctlc_plan_point *points = CTL_NEW_ARRAY(arena, ctlc_plan_point, b->all.n);
    for (size_t k = 0; k < b->all.n; k++) {
        const candidate *c = &b->all.at[b->all.n - 1 - k];
        points[k] = (ctlc_plan_point){c->bytes, c->seconds / b->base - 1, c->of->split};
    }
    b->report.points = points, b->report.npoints = b->all.n;
}

/* ---- tries ---- */
static int64_t peak_of(const ctl_program *p) { return (int64_t)ctl_program_memory(p).peak; }

static void drop_program(ctl_unit *u) {
    ctl_unit_drop(u);
    u->is_lowered = false;
}

static const ctl_planner *measured(budgeter *b, part *p) {
    const char *why;
    if (!p->measured)
        p->measured = ctl_planner_make(b->u->arena, ctl_graph_divided(b->u->graph, p->split), &b->lower, &b->rates, &why);
    return p->measured;
}

/* The candidate's graph, and what it takes beside a budget: false when that is too much. */
static ctl_graph *graph_within(budgeter *b, const candidate *c, int64_t budget, double *seconds) {
    ctl_unit *u = b->u;
    const ctl_planner *p = measured(b, c->of);
    double extra;
    /* What was predicted of the whole batch is a little less than what is measured of a part. */
    int64_t step = c->of->divisor > 1 ? c->step + c->step / 64 : c->step;
    ctl_graph *g = p ? ctl_planner_graph(u->arena, p, step, &extra) : NULL;
    if (!g) return NULL;
    const char *why;
    ctl_lives lives;
    *seconds = (double)c->of->split * (p->seconds + extra);
    if (ctl_lower_lives(u->arena, g, &b->lower, &lives, &why) != CTL_OK) return NULL;
    return p->fixed + ctl_most_alive(u->arena, &lives) <= budget ? g : NULL;
}

/* Lowers the graph; keeps the program when it is within the budget. */
static bool lower_within(budgeter *b, ctl_graph *g, int64_t split, double seconds, int64_t budget) {
    ctl_unit *u = b->u;
    u->spec.settings.accumulate *= split;
    bool lowered = ctl_unit_lower_graph(u, g);
    u->spec.settings.accumulate /= split;
    if (!lowered) return false;
    if (peak_of(u->program) > budget) {
        drop_program(u);
        return false;
    }
    u->is_lowered = true;
    b->report.split = split, b->report.extra_work = seconds / b->base - 1;
    b->planned = g;
    return true;
}

static bool is_near(const budgeter *b, const candidate *c, int64_t budget) {
    int64_t fixed = c->bytes - c->step;
    return (double)c->step <= (1 + b->slack) * (double)(budget - fixed);
}

static bool try_candidates(budgeter *b, int64_t budget) {
    for (size_t k = 0; k < b->all.n && b->u->status == CTL_OK; k++) {
        const candidate *c = &b->all.at[k];
        double seconds;
        if (!is_near(b, c, budget)) continue;
        ctl_graph *g = graph_within(b, c, budget, &seconds);
        if (g && lower_within(b, g, c->of->split, seconds, budget)) return true;
    }
    return false;
}

/* Of the candidates that are predicted to be nearly the smallest, the one that is. */
static bool make_least(budgeter *b) {
    int64_t least = INT64_MAX, predicted = b->all.n ? b->all.at[b->all.n - 1].bytes : 0;
    for (size_t k = b->all.n; k-- > 0 && b->u->status == CTL_OK;) {
        const candidate *c = &b->all.at[k];
        double seconds;
        if (least < INT64_MAX && !is_near(b, c, predicted)) break;
        int64_t budget = least == INT64_MAX ? least : least - 1;
        ctl_graph *g = graph_within(b, c, budget, &seconds);
        if (!g) continue;
        ctl_program *best = b->u->program;
        const ctl_rowprog *const *rows = b->u->rows;
        b->u->program = NULL;
        if (lower_within(b, g, c->of->split, seconds, budget)) {
            ctl_program_free(best);
            least = peak_of(b->u->program);
        } else b->u->program = best, b->u->rows = rows;
    }
    b->u->is_lowered = b->u->program != NULL;
    return b->u->is_lowered;
}

/* No candidate fits, not even those that are nearly predicted to: tells what the least is. */
static void refuse(budgeter *b, int64_t budget) {
    ctl_unit *u = b->u;
    if (!make_least(b)) return;
    ctl_memory memory = ctl_program_memory(u->program);
    int64_t bytes = peak_of(u->program), split = b->report.split;
    drop_program(u);
    ctl_error(&u->sink, CTL_E0509, CTL_NO_SPAN,
              split > 1 || sequences(u->graph) == 1
                  ? "shorter sequences (--set tokens=..), bf16, controls of a lower rank, or a smaller model need less; "
                    "`ctlc plan --memory min` shows what takes how much"
                  : "fewer tokens at a time (--set tokens=..) with more accumulation, bf16, controls of a lower rank, or a "
                    "smaller model need less; `ctlc plan --memory min` shows what takes how much",
              "there are %s, and the least that this takes is %s: %s for weights, %s for what is trained, %s for a step%s",
              b->report.withheld ? ctl_format(u->arena, "%s (%s less what the card withholds)",
                                              ctl_format_bytes(u->arena, budget), ctl_format_bytes(u->arena, b->report.budget))
                                 : ctl_format_bytes(u->arena, budget), ctl_format_bytes(u->arena, bytes),
              ctl_format_bytes(u->arena, (int64_t)memory.constant), ctl_format_bytes(u->arena, (int64_t)memory.persistent),
              ctl_format_bytes(u->arena, (int64_t)memory.step), split > 1 ? ", one sequence at a time" : "");
    u->status = CTL_ERR_BUDGET;
}

/* Bytes of the operands of the largest task that is no row program, each counted once. */
static size_t largest_task(const ctl_lives *lives) {
    size_t most = 0;
    for (size_t t = 0; t < lives->ntasks; t++) {
        const ctl_task *task = &lives->task[t];
        size_t bytes = 0;
        for (uint32_t k = 0; task->kind != TASK_ROWS && k < task->noperands; k++) {
            const ctl_operand *o = &task->operands[k];
            bool counts = o->buffer != UINT32_MAX && lives->buffer[o->buffer].region == REGION_STEP;
            for (uint32_t j = 0; j < k && counts; j++) counts = task->operands[j].buffer != o->buffer;
            if (counts) bytes += (size_t)o->rows * (size_t)o->cols * ctl_dtype_size(o->dtype);
        }
        if (bytes > most) most = bytes;
    }
    return most;
}

/* Every plan has all constants and what is trained, and runs the products and attention of one that keeps everything, with
 * their operands in memory at once: those of the smallest part that a batch may be split into. */
static int64_t lower_bound(budgeter *b, const ctl_graph *before) {
    ctl_unit *u = b->u;
    int64_t most = u->options->may_split ? sequences(before) : 1, only = u->options->may_split ? u->options->split : 0;
    ctl_graph *g = ctl_graph_divided(before, only ? only : most);
    ctl_lives lives;
    const char *why;
    ctl_pass_save(g, &g);
    if (ctl_lower_lives(u->arena, g, &b->lower, &lives, &why) != CTL_OK) return 0;
    return ctl_bytes_outside_step(&lives) + (int64_t)largest_task(&lives);
}

static void verify(budgeter *b, const ctl_graph *before) {
    ctl_unit *u = b->u;
    const char *why;
    if (b->report.split > 1) before = ctl_graph_divided(before, b->report.split);
    if (ctl_graphs_equal(u->graph, before, u->arena, &why)) return;
    ctl_error(&u->sink, CTL_E0901, CTL_NO_SPAN, "this is a defect of ctlc; please report it with the spec",
              "the plan is wrong: %s", why);
    u->status = CTL_ERR_INTERNAL;
}

static void report(budgeter *b, const ctl_graph *before) {
    ctl_unit *u = b->u;
    ctlc_plan *r = &b->report;
    r->peak = peak_of(u->program);
    r->segments = b->segments;
    ctl_memory m = ctl_program_memory(u->program);
    r->fixed = (int64_t)(m.constant + m.persistent);
    r->lower_bound = lower_bound(b, before);
    double split = (double)r->split;
    r->flops = split * flops_of(u->graph) * (double)u->spec.settings.accumulate;
    r->extra_flops = r->flops - flops_of(before) * (double)u->spec.settings.accumulate;
    r->step_seconds = split * seconds_of(b, u->graph) * (double)u->spec.settings.accumulate;
    if (u->options->plan) u->options->plan(u->options->plan_ctx, r);
}

static bool choose_machine(budgeter *b) {
    ctl_unit *u = b->u;
    const ctlc_options *o = u->options;
    const ctl_machine *machine = ctl_machine_named(o->machine ? o->machine : o->engine == CTLC_CUDA ? "rtx3090" : "cpu");
    if (!machine) {
        ctl_text names = {.arena = u->arena};
        for (const char *const *name = ctl_machine_names(); *name; name++) ctl_text_add(&names, " %s", *name);
        ctl_error(&u->sink, CTL_E0505, CTL_NO_SPAN, ctl_format(u->arena, "there are%s", names.at),
                  "there is no machine `%s` to plan for", o->machine);
        u->status = CTL_ERR_INPUT;
        return false;
    }
    b->rates = machine->rates;
    if (machine->each_thread) {
        double threads = u->threads;
        b->rates.product_f32 *= threads, b->rates.product_bf16 *= threads, b->rates.attention *= threads;
        b->rates.bytes *= threads;
    }
    if (o->rates) b->rates = (ctl_rates){o->rates[0], o->rates[1], o->rates[2], o->rates[3]};
    b->report.machine = machine->name, b->report.withheld = machine->withheld, b->report.measured = o->rates != NULL;
    return true;
}

void ctl_unit_plan(ctl_unit *u) {
    const ctlc_options *o = u->options;
    int64_t budget = o->memory ? o->memory : u->spec.memory;
    const ctl_graph *before = u->graph;
    budgeter b = {.u = u, .lower = {.threads = o->engine == CTLC_CUDA ? 1 : u->threads, .target = ctl_unit_target(u), .no_fuse = o->no_fuse, .compute = u->compute,
                                    .settings = u->spec.settings, .known_scratch = &u->known_scratch}};
    b.report = (ctlc_plan){.budget = budget > 0 ? budget : 0, .split = 1};
    if (!choose_machine(&b)) return;
    if (budget > 0) budget = budget > b.report.withheld ? budget - b.report.withheld : 1;
    bool decide = (budget != 0 && budget != CTLC_MEMORY_MOST) || o->points || (o->may_split && o->split > 1);
    if (decide && !make_parts(&b)) return;
    if (o->points) find_points(&b);
    if (budget == 0 || budget == CTLC_MEMORY_MOST) {
        int64_t split = o->may_split && o->split > 1 ? o->split : 1;
        b.report.split = split;
        ctl_graph *g = split > 1 ? ctl_graph_divided(u->graph, split) : u->graph;
        ctl_pass_save(g, &g);
        u->spec.settings.accumulate *= split;
        if (!ctl_unit_lower_graph(u, g)) return;
        u->spec.settings.accumulate /= split;
        u->graph = g, u->is_lowered = true;
        if (decide) b.report.extra_work = (double)split * b.parts[0].time * b.parts[0].predicted->seconds / b.base - 1;
    } else {
        bool done = budget == CTLC_MEMORY_LEAST ? make_least(&b) : try_candidates(&b, budget);
        if (!done && budget > 0 && u->status == CTL_OK) refuse(&b, budget);
        if (!done && u->status == CTL_OK) u->status = CTL_ERR_INTERNAL;
        if (!done) return;
        u->graph = b.planned;
    }
    if (o->verify) verify(&b, before);
    report(&b, before);
}
