/* form: what a form (adaptation.h) computes. On the weights themselves it gives the weight that does alone
 * what the form does; on a few random numbers it shows which known method the form is. All in doubles. */
#ifndef CTL_FORM_H
#define CTL_FORM_H

#include "runtime/adaptation.h"
#include "runtime/program.h"

/* Gives all elements of a parameter, row-major; a failure ends the evaluation. */
typedef ctl_status (*ctl_form_read_fn)(void *ctx, size_t param, double *out);

/* The weight (as the parameter is stored: turned or not) and the row that the form adds to it for every
 * input: the bias, and *has_constant says whether there is one at all. Both are from the allocator, with one
 * number more than they have: rows * cols + 1, and as many as the product has columns + 1. shapes: by
 * parameter, in the place of the program's; NULL: those. */
ctl_status ctl_form_merge(const ctl_program *program, const ctl_form *form, const int64_t (*shapes)[2],
                          ctl_form_read_fn read, void *ctx, const ctl_allocator *allocator, double **weight,
                          double **constant, bool *has_constant);

typedef enum ctl_method { METHOD_OTHER, METHOD_LORA, METHOD_DORA, METHOD_IA3 } ctl_method;
typedef struct ctl_recognised {
    ctl_method method;
    uint32_t a, b, magnitude; /* numbers of the parameters [r, in], [out, r], [out]; CTL_NO_PARAM */
    uint32_t vector;          /* (IA)^3's: [out], or on_input [in]; CTL_NO_PARAM */
    bool on_input;
    int64_t rank;
    double scale;
    double dropout; /* before A, as PEFT has it; 0: none, or elsewhere: */
    bool dropout_elsewhere;
    const char *why; /* METHOD_OTHER: a sentence's end */
} ctl_recognised;

/* A form is LoRA when it computes x (W + s B A)' for numbers drawn at random, whatever its text; DoRA when it
 * computes x (m (W + s B A) / |W + s B A|)'; biases stay. It is (IA)^3 when it computes (x W' + b) l or (x l)
 * W' + b. */
ctl_status ctl_form_recognise(const ctl_program *program, const ctl_form *form,
                              const ctl_allocator *allocator, ctl_recognised *out);

#endif
