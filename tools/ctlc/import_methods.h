/* import_methods: the tune blocks that `ctlc import` can write, by architecture. */
#ifndef CTLC_IMPORT_METHODS_H
#define CTLC_IMPORT_METHODS_H

#include "tools/ctlc/import_config.h"

extern const import_method import_methods_llama[];

#endif
