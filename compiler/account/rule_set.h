/* rule_set: rules of what a framework keeps, as parsed (account.h). */
#ifndef CTL_RULE_SET_H
#define CTL_RULE_SET_H

#include "compiler/account/account.h"

enum { CTL_RULE_NAMES = 16, CTL_RULE_KEEPS = 8, CTL_RULE_DEPTH = 24 };

typedef enum ctl_pattern_kind { PATTERN_ANY, PATTERN_NAME, PATTERN_NUMBER, PATTERN_OP } ctl_pattern_kind;
typedef struct ctl_pattern {
    ctl_pattern_kind kind;
    ctl_op op;
    int name; /* number of the name in its rule; 0 is `out` */
    double number;
    uint32_t nin;
    struct ctl_pattern *in[3];
} ctl_pattern;

typedef enum ctl_keep_kind { KEEP_VALUE, KEEP_PER_ROW, KEEP_PER_HEAD, KEEP_PER_ROWS } ctl_keep_kind;
typedef struct ctl_keep {
    ctl_keep_kind kind;
    int of, and_of;  /* names */
    ctl_dtype dtype; /* CTL_REAL: the compute type */
    int64_t bytes;
    uint32_t when; /* names that must need a gradient, as bits */
} ctl_keep;

typedef struct ctl_rule {
    const char *name;
    const char *names[CTL_RULE_NAMES];
    int nnames;
    ctl_pattern *pattern;
    uint32_t weights; /* names that must be weights, as bits */
    ctl_keep keeps[CTL_RULE_KEEPS];
    uint32_t nkeeps;
} ctl_rule;

struct ctl_rule_set {
    CTL_VEC(ctl_rule) rules;
    ctl_dtype frozen, trained, gradient, moments[2]; /* CTL_REAL: the compute type */
    uint32_t nmoments;
};

#endif
