/* choices: which of cuBLASLt's algorithms a session's products have. cuBLASLt is asked once for each form of product - types,
 * shapes, strides, transposes, alignments, what is added, and the workspace -, and all products of a form have its answer, wherever
 * a plan puts them. Another version of cuBLASLt, or another device, may answer otherwise, and sums are then added in another
 * order: so a checkpoint keeps the answers, and a run that goes on takes them from there where version and device are the
 * same. The table is therefore a session's own: another session of the same program may go on from another checkpoint, on another
 * thread. The table as text is a line of what wrote it, one of the library, one of the device, then a line a form: the algorithm in
 * hex, the bytes of workspace that it takes, the form. */
#ifndef CTL_RUNTIME_CUDA_CHOICES_H
#define CTL_RUNTIME_CUDA_CHOICES_H

#include "runtime/cuda/blaslt.h"
#include "runtime/engine.h"
#include "runtime/files.h"

typedef struct ctl_cuda_choice {
    char form[CTL_BLASLT_FORM];
    ctl_blaslt_choice is;
    const ctl_blaslt_product *first; /* of the session's that have this form */
} ctl_cuda_choice;

typedef struct ctl_cuda_choices {
    ctl_cuda_choice *at;
    size_t n, room;
} ctl_cuda_choices;

struct ctl_cuda_session;
/* Sets product->choice: that of the form, which cuBLASLt is asked for where it is new. The product is described, and stays where
 * it is while the session is open. */
ctl_status ctl_cuda_choose(struct ctl_cuda_session *s, const ctl_blaslt_form *form, ctl_blaslt_product *product);
void ctl_cuda_choices_free(struct ctl_cuda_session *s);

/* keep and take of ctl_engine. */
void ctl_cuda_keep(ctl_session *s, ctl_string *text);
ctl_status ctl_cuda_take(struct ctl_cuda_session *s, const char *text);

#endif
