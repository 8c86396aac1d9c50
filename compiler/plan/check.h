/* check: whether a program keeps its promises about memory, found out by replaying its tasks. It shares no
 * code with what laid the program out.
 *
 * Checked: every operand lies within its buffer, every buffer within its region, offsets are aligned; buffers
 * of the step region that live at the same time do not overlap, where a buffer lives from the first task that
 * touches it to the last (and to the end, when the host reads it); lives are recorded as they are; every byte
 * that a task reads was written before, by a task or by the host, in every order in which entries may run;
 * nothing but load writes constants; operands of a task that it writes do not overlap those that it reads,
 * but for the pairs that may. */
#ifndef CTL_CHECK_H
#define CTL_CHECK_H

#include "base/base.h"
#include "runtime/program.h"

enum { CTL_CHECK_TEXT = 512 };

/* CTL_ERR_INTERNAL and a sentence in `fault` (CTL_CHECK_TEXT bytes) at the first promise that is broken; else
 * CTL_OK, or CTL_ERR_MEMORY. */
ctl_status ctl_check(const ctl_program *program, const ctl_allocator *allocator, char *fault);

#endif
