/* print: a program as text: its buffers by region, and every entry's tasks with their operands. */
#ifndef CTL_PROGRAM_PRINT_H
#define CTL_PROGRAM_PRINT_H

#include "base/base.h"
#include "runtime/program.h"

/* One line a buffer and a task. An operand is `>b7+128 64 x 128 /160 bf16`: `>` where the task writes it,
 * buffer, byte offset in it, shape, row stride where there is a gap. */
void ctl_program_print(const ctl_program *program, ctl_text *out);
const char *ctl_use_name(ctl_use use);

#endif
