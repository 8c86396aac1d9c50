/* import_methods: the tune blocks that `ctlc import` can write, by architecture. */
#ifndef CTLC_IMPORT_METHODS_H
#define CTLC_IMPORT_METHODS_H

#include "tools/ctlc/import_config.h"

extern const import_method import_methods_llama[];
extern const import_method import_methods_llama_classifier[];
extern const import_method import_methods_roberta[];
extern const import_method import_methods_bert[];
extern const import_method import_methods_masked[]; /* of both, without a head of its own to train */
extern const import_method import_methods_vit[];
extern const import_method import_methods_gpt2[];
extern const import_method import_methods_gpt2_classifier[];

#endif
