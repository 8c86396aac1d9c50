/* print: a program as text: its buffers with their places, and its tasks with their operands. For --dump. */
#ifndef CTL_PLAN_PRINT_H
#define CTL_PLAN_PRINT_H

#include "base/base.h"
#include "runtime/program.h"

void ctl_program_print(const ctl_program *program, ctl_text *out);

#endif
