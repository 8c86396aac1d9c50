/* test_charts: the timeline of a step against the program's buffers, counted again here; several tune blocks
 * in one table against each by itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "ctl/ctlc.h"
#include "runtime/program.h"
#include "tests/command.h"

static const char SPEC[] =
    "import llama, tuning\n"
    "model m = llama.causal_lm(; vocab = 258, dim = 32, depth = 3, heads = 2, kv_heads = 2, ffn = 48, "
    "theta = 10000.0)\n"
    "tune low = m with tuning.lora_qkv(rank = 2, alpha = 4) {\n    tokens 4 x 32\n}\n"
    "tune beside = m with tuning.double(rank = 2) {\n    tokens 4 x 32\n}\n";

/* The most bytes at a task, by looking at every buffer for every task; a program here has one step alone. */
static size_t most_bytes(const ctl_program *p, size_t *when) {
    const size_t tasks = p->run[RUN_FORWARD].n + p->run[RUN_BACKWARD].n;
    size_t most = 0;
    for (size_t t = 0; t < tasks; t++) {
        size_t sum = 0;
        for (size_t k = 0; k < p->nbuffers; k++) {
            const ctl_buffer *b = &p->buffers[k];
            bool mine = b->region != REGION_STEP;
            for (int run = RUN_FORWARD; !mine && run <= RUN_BACKWARD; run++)
                for (size_t i = 0; !mine && i < p->run[run].n; i++) {
                    const ctl_task *task = &p->run[run].at[i];
                    mine = task->scratch.buffer == k;
                    for (uint32_t j = 0; j < task->noperands; j++)
                        mine = mine || task->operands[j].buffer == k;
                }
            if (mine && (b->region != REGION_STEP || (b->first <= (int32_t)t && (int32_t)t <= b->last)))
                sum += b->bytes;
        }
        if (sum > most) most = sum, *when = t;
    }
    return most;
}

static void test_timeline(void **state) {
    (void)state;
    ctl_program *program;
    const ctlc_options options = {.tune = "beside", .threads = 2};
    write_file("spec.ctl", SPEC);
    assert_int_equal(ctlc("plan spec.ctl --tune beside --threads 2 --timeline step.svg"), 0);
    assert_int_equal(ctlc_compile_text("spec.ctl", SPEC, strlen(SPEC), &options, &program), CTL_OK);
    size_t when = 0;
    const size_t most = most_bytes(program, &when),
                 tasks = program->run[RUN_FORWARD].n + program->run[RUN_BACKWARD].n;
    const char *svg = text_of("step.svg");
    char text[64];
    snprintf(text, sizeof text, ">peak %.1f %s<", (double)most / (most < 1 << 20 ? 1024 : 1 << 20),
             most < 1 << 20 ? "KiB" : "MiB");
    assert_non_null(strstr(svg, text));
    snprintf(text, sizeof text, ">%zu tasks of a micro-step, in order<", tasks);
    assert_non_null(strstr(svg, text));
    /* The dot stands over the middle of the fullest task, at the top of the areas: 1/1.06 of the height of
     * 440. */
    double x, y;
    assert_int_equal(sscanf(strstr(svg, "<circle"), "<circle cx=\"%lf\" cy=\"%lf\"", &x, &y), 2);
    assert_true(fabs(x - (90 + ((double)when + 0.5) / (double)tasks * 700)) < 0.06);
    assert_true(fabs(y - (500 - 440 / 1.06)) < 0.06);
    assert_non_null(strstr(svg, ">forward<"));
    assert_non_null(strstr(svg, ">backward<"));
    assert_non_null(strstr(svg, ">kept for backward<"));
    assert_string_equal(svg + strlen(svg) - 7, "</svg>\n");
    ctl_program_free(program);
    assert_int_equal(ctlc("plan spec.ctl --tune beside --timeline nowhere/step.svg"), 4);
    assert_int_equal(ctlc("plan spec.ctl --tune beside --engine reference --timeline step.svg"), 7);
    says("ctlc plan: --timeline needs the tasks of a step");
}

static json_t *json_of(const char *arguments) {
    assert_int_equal(ctlc("%s", arguments), 0);
    json_t *object = json_loads(output, 0, NULL);
    assert_non_null(object);
    return object;
}

static json_int_t bytes(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(json_object_get(object, "bytes"), key));
}

static void test_compare(void **state) {
    (void)state;
    static const char *const blocks[] = {"low", "beside"};
    write_file("spec.ctl", SPEC);
    json_t *all = json_of("plan spec.ctl --compare low,beside --json");
    assert_int_equal(json_object_size(all), 2);
    for (int k = 0; k < 2; k++) {
        char arguments[128];
        snprintf(arguments, sizeof arguments, "plan spec.ctl --tune %s --json", blocks[k]);
        json_t *ours = json_of(arguments);
        snprintf(arguments, sizeof arguments, "plan spec.ctl --tune %s --as autograd --json", blocks[k]);
        json_t *theirs = json_of(arguments);
        const json_t *row = json_object_get(all, blocks[k]), *as = json_object_get(row, "autograd");
        assert_int_equal(json_integer_value(json_object_get(row, "peak")), bytes(ours, "peak"));
        assert_int_equal(json_integer_value(json_object_get(row, "saved")), bytes(ours, "saved"));
        assert_int_equal(json_integer_value(json_object_get(as, "peak")), bytes(theirs, "peak"));
        assert_int_equal(json_integer_value(json_object_get(as, "saved")), bytes(theirs, "saved"));
        json_decref(ours), json_decref(theirs);
    }
    json_decref(all);
    assert_int_equal(ctlc("plan spec.ctl --compare low,beside"), 0);
    says("\nlow  ");
    says("\nbeside  ");
    assert_int_equal(ctlc("plan spec.ctl --compare low,,beside"), 2);
    says("--compare takes up to 64 names of tune blocks with commas between, not \"low,,beside\"");
    assert_int_equal(ctlc("plan spec.ctl --compare low,none"), 1);
    says("none");
}

/* The table has the points that the plan is told with; the chart a label at both ends. */
static void test_pareto(void **state) {
    (void)state;
    write_file("spec.ctl", SPEC);
    json_t *plan = json_of("plan spec.ctl --tune low --json --pareto points.json");
    const json_t *points = json_object_get(plan, "points");
    json_t *table = json_loads(text_of("points.json"), 0, NULL);
    assert_non_null(table);
    assert_true(json_array_size(points) > 1);
    assert_true(json_equal(points, table));
    assert_int_equal(ctlc("plan spec.ctl --tune low --pareto points.svg"), 0);
    const char *svg = text_of("points.svg");
    for (int end = 0; end < 2; end++) {
        const json_t *point = json_array_get(points, end ? json_array_size(points) - 1 : 0);
        const double least = (double)json_integer_value(json_object_get(point, "bytes"));
        const long long split = (long long)json_integer_value(json_object_get(point, "split"));
        char text[64];
        snprintf(text, sizeof text, ">%.1f %s, %lld part%s<", least / (least < 1 << 20 ? 1024 : 1 << 20),
                 least < 1 << 20 ? "KiB" : "MiB", split, split == 1 ? "" : "s");
        if (!strstr(svg, text)) fail_msg("no %s in the chart", text);
    }
    json_decref(plan), json_decref(table);
    assert_int_equal(ctlc("plan spec.ctl --tune low --pareto points.png"), 2);
    says("--pareto writes FILE.svg or FILE.json, not \"points.png\"");
    assert_int_equal(ctlc("plan spec.ctl --tune low --pareto nowhere/points.svg"), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_timeline), cmocka_unit_test(test_compare),
                                       cmocka_unit_test(test_pareto)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
