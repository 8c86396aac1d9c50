/* peft_fixture: controls compiled, and what is said of them, for the tests of PEFT's adapters. Include cmocka first. */
#ifndef CTL_TESTS_PEFT_FIXTURE_H
#define CTL_TESTS_PEFT_FIXTURE_H

#include "ctl/ctlc.h"
#include "hf_files.h"
#include "runtime/form.h"
#include "runtime/program.h"

typedef struct heard {
    int errors;
    char all[8192];
} heard;
static inline void hear(void *ctx, const ctl_diagnostic *d) {
    heard *h = ctx;
    h->errors += d->severity == CTL_ERROR;
    size_t n = strlen(h->all);
    snprintf(h->all + n, sizeof h->all - n, "%s %s%s%s\n", d->code, d->message, d->hint ? " | " : "",
             d->hint ? d->hint : "");
}
static heard said;

static inline ctl_program *compile(const char *controls, const char *with) {
    char text[4000];
    snprintf(text, sizeof text,
             "import llama, tuning, control\n" HF_LLAMA_MODEL ")\n%s\ntune m with %s {\n tokens 1 x 4\n}\n",
             controls, with);
    said = (heard){0};
    ctlc_options options = {.engine = CTLC_REFERENCE, .diagnostic = hear, .diagnostic_ctx = &said};
    ctl_program *program = NULL;
    ctl_status status = ctlc_compile_text("spec.ctl", text, strlen(text), &options, &program);
    assert_string_equal(said.all, "");
    assert_int_equal(status, CTL_OK);
    return program;
}

#endif
