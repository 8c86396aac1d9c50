/* task_groups: a program's tasks told together where they are alike - products by their shapes, row programs by their kernel; or by the
 * line of the .ctl that they come from - so that a table of times has a page and not a thousand lines. */
#ifndef CTL_TASK_GROUPS_H
#define CTL_TASK_GROUPS_H

#include "runtime/program.h"

enum { CTL_GROUP_NAME = 96, CTL_MOST_GROUPS = 256 };

typedef struct ctl_task_group {
    char name[CTL_GROUP_NAME];
    int64_t times;         /* tasks of it in a step */
    double seconds, flops, bytes; /* of all of them */
    bool product;                 /* products and attention */
} ctl_task_group;

void ctl_task_group_name(const ctl_program *p, const ctl_task *t, char out[CTL_GROUP_NAME]);
bool ctl_task_group_same(const char *a, const char *b); /* their names */
bool ctl_task_is_product(const ctl_task *t);
/* Bytes of a task's operands, each read or written once: the least that goes to and from memory where none of it is near. What is added to
 * counts twice; of a table the rows that are looked up count. */
double ctl_task_bytes(const ctl_task *t);

/* The groups of forward's and backward's tasks, by time, the longest first; how many there are. */
size_t ctl_task_groups(const ctl_program *p, double *const seconds[RUN_COUNT], ctl_task_group out[CTL_MOST_GROUPS]);

/* Times by the lines that the tasks are written in. */
typedef struct ctl_line_time {
    const ctl_program_place *at; /* one of the line's; NULL: of tasks whose line is not known, and what there was no room for */
    int64_t times;
    double seconds, flops;
} ctl_line_time;
size_t ctl_task_lines(const ctl_program *p, double *const seconds[RUN_COUNT], ctl_line_time out[CTL_MOST_GROUPS]);

#endif
