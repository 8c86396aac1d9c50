/* import_reader: the keys of one config.json, as tables of what a net wants of them: its parameters
 * (config_field) and what must be so (config_demand). Whatever is wrong is said and counted, and reading goes
 * on, so that all of it is said at once. Inside of import_*.c alone. */
#ifndef CTLC_IMPORT_READER_H
#define CTLC_IMPORT_READER_H

#include <jansson.h>
#include <math.h>

#include "tools/ctlc/import_config.h"

typedef enum config_kind { WHOLE, REAL, FLAG } config_kind;

/* A parameter of the net. Without the key it is `otherwise`, or with NAN an error; not written where it is
 * `silent`. */
typedef struct config_field {
    const char *param, *key;
    config_kind kind;
    double otherwise, silent;
} config_field;

#define NEEDED NAN
#define NEVER  NAN

/* What a key must be, where it is there: one of the words ("true" is true), or with NULL words false, null or
 * 0. */
typedef struct config_demand {
    const char *key, *words[4], *why;
} config_demand;

/* What a model of an architecture is for: chosen by --task, else by the class that the file names, else the
 * first. */
typedef struct config_task {
    const char *name, *class_end, *net;
    const import_method *methods;
} config_task;

typedef struct config_reader config_reader;

typedef struct config_architecture {
    const char *type, *imports;
    config_task tasks[3];
    config_field fields[12];
    config_demand demands[8];
    void (*rest)(config_reader *r); /* what no table says */
} config_architecture;

struct config_reader {
    const char *path;
    ctl_place place;
    const json_t *root;
    const config_architecture *a;
    import_model *m;
    const char *task; /* asked for, or NULL */
    int errors;
};

void config_complain(config_reader *r, const char *hint, const char *fmt, ...) CTL_PRINTF(3, 4);
/* A value as config.json has it, for messages. */
const char *config_shown(const json_t *value, char buf[64]);
/* false, null, 0, [] or not there. */
bool config_is_nothing(const json_t *value);

/* One more parameter of the model. */
void config_add(config_reader *r, const char *name, const char *fmt, ...) CTL_PRINTF(3, 4);
void config_add_real(config_reader *r, const char *name, double x);

/* Without the key `otherwise`, where that is no NAN. */
bool config_read_whole(config_reader *r, const char *key, double least, double otherwise, double *out);
void config_read_field(config_reader *r, const config_field *f);
void config_check_demand(config_reader *r, const config_demand *d);

/* import_architectures.c: those that are known. */
const config_architecture *config_architectures(size_t *n);

#endif
