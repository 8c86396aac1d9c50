/* test_check: the checker of programs finds every task that is left out and every fault planted in a plan;
 * the printer prints all of a program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "compiler/plan/check.h"
#include "compiler/plan/print.h"
#include "tests/lower_fixture.h"

static ctl_status check(const ctl_program *p) {
    char text[CTL_CHECK_TEXT];
    return ctl_check(p, NULL, text);
}

static void assert_found(const ctl_program *p, const char *what) {
    char text[CTL_CHECK_TEXT];
    ctl_status status = ctl_check(p, NULL, text);
    if (status != CTL_ERR_INTERNAL || !text[0]) fail_msg("not found: %s", what);
}

static ctl_lowered model_program(fixture *f) {
    llama m = tuned(TUNE_LORA, 0.25, true);
    return lower(f, prepare(f, build_llama(&f->arena, &m), CTL_BF16), CTL_BF16, false);
}

/* All that the task makes lies where an operand lay: whoever reads it finds something written there. */
static bool all_in_place(const ctl_task *t) {
    for (uint32_t k = 0; k < t->noperands; k++) {
        bool over = false;
        if (!(t->writes >> k & 1) || t->operands[k].buffer == UINT32_MAX) continue;
        for (uint32_t j = 0; j < t->noperands; j++)
            over = over || (!(t->writes >> j & 1) && t->operands[j].buffer == t->operands[k].buffer);
        if (!over) return false;
    }
    return true;
}

static void test_print(void **state) {
    fixture *f = *state;
    ctl_program *p = model_program(f).program;
    ctl_text text = {.arena = &f->arena};
    ctl_program_print(p, &text);
    size_t lines = 0, expected = REGION_COUNT + p->nbuffers + RUN_COUNT;
    for (int entry = 0; entry < RUN_COUNT; entry++) expected += p->run[entry].n;
    for (size_t k = 0; k < text.n; k++) lines += text.at[k] == '\n';
    assert_int_equal(lines, expected);
    assert_non_null(strstr(text.at, "attend_grad head 4 causal ("));
    assert_non_null(strstr(text.at, " by operand "));
    assert_non_null(strstr(text.at, "matmul ta accumulate ("));
    p->release(p);
}

static void test_dropped_tasks(void **state) {
    ctl_program *p = model_program(*state).program;
    assert_int_equal(check(p), CTL_OK);
    for (int entry = 0; entry < RUN_COUNT; entry++) {
        ctl_task_list *list = &p->run[entry];
        for (size_t k = 0; k < list->n; k++) {
            ctl_task saved = list->at[k];
            bool only_gradients = true;
            for (uint32_t j = 0; j < saved.noperands; j++)
                if ((saved.writes >> j & 1) && saved.operands[j].buffer != UINT32_MAX &&
                    p->buffers[saved.operands[j].buffer].use != USE_GRADIENTS)
                    only_gradients = false;
            if (only_gradients || all_in_place(&saved))
                continue; /* reading what is there is no fault of memory */
            list->at[k] = (ctl_task){.kind = TASK_FOLD, .name = "nothing", .scratch = CTL_NO_OPERAND};
            if (check(p) == CTL_OK) fail_msg("task %zu of entry %d is not missed: %s", k, entry, saved.name);
            list->at[k] = saved;
        }
    }
    assert_int_equal(check(p), CTL_OK);
    p->release(p);
}

static void test_planted_faults(void **state) {
    ctl_program *p = model_program(*state).program;
    size_t moved = 0;
    for (size_t k = 0; k < p->nbuffers; k++) {
        ctl_buffer *b = &p->buffers[k], saved = *b;
        if (b->region != REGION_STEP || b->first < 0 || b->bytes == 0) continue;
        if (b->last > b->first) {
            b->last--; /* freed early */
            assert_found(p, "a buffer freed early");
            *b = saved;
        }
        b->offset = p->region_bytes[REGION_STEP];
        assert_found(p, "a buffer after its region");
        *b = saved;
        b->offset += 8;
        assert_found(p, "a buffer that is not aligned");
        *b = saved;
        for (size_t j = 0; j < p->nbuffers; j++) { /* on top of something that lives with it */
            const ctl_buffer *o = &p->buffers[j];
            if (j == k || o->region != REGION_STEP || o->first < 0 || o->bytes == 0 || o->use != b->use)
                continue;
            if (b->use != USE_SAVED || o->first > b->last || o->last < b->first) continue;
            if (o->offset > p->region_bytes[REGION_STEP] - b->bytes) continue;
            b->offset = o->offset;
            assert_found(p, "two buffers in one place");
            *b = saved;
            moved++;
        }
    }
    assert_true(moved > 10);
    for (int entry = RUN_FORWARD; entry <= RUN_BACKWARD; entry++) {
        for (size_t k = 0; k < p->run[entry].n; k++) {
            ctl_task *t = &p->run[entry].at[k];
            for (uint32_t j = 0; j < t->noperands; j++) {
                ctl_operand saved = t->operands[j];
                if (saved.buffer == UINT32_MAX) continue;
                t->operands[j].rows +=
                    1 + (int64_t)(p->buffers[saved.buffer].bytes / ctl_dtype_size(saved.dtype));
                t->operands[j].stride =
                    t->operands[j].stride > t->operands[j].cols ? t->operands[j].stride : t->operands[j].cols;
                assert_found(p, "an operand that ends after its buffer");
                t->operands[j] = saved;
            }
            ctl_operand saved = t->operands[0];
            for (uint32_t j = 1; j < t->noperands; j++) {
                if (!(t->writes >> j & 1) || t->operands[j].buffer == UINT32_MAX || t->kind == TASK_ROWS)
                    continue;
                t->operands[0] = t->operands[j];
                assert_found(p, "a task that reads what it writes");
                t->operands[0] = saved;
            }
        }
    }
    assert_int_equal(check(p), CTL_OK);
    p->release(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_print, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dropped_tasks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_planted_faults, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
