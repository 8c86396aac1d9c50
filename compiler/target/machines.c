/* machines: what plans can be made for, from published figures: dense bf16 products with f32 sums, f32 products outside of
 * tensor cores, memory bandwidth; attention at half of a product's rate. Of a card's nominal memory 0.4 GiB are withheld
 * by the device and about 0.5 GiB go to the context and libraries. */
#include "compiler/target/target.h"

#include <string.h>

#define CARD_WITHHOLDS ((int64_t)(0.9 * 1073741824.0))

static const ctl_machine machines[] = {
    {"cpu", {100e9, 200e9, 120e9, 20e9}, true, 0}, /* a Zen 4 core, measured with tools/bench */
    {"rtx3090", {35.6e12, 71e12, 35e12, 936e9}, false, CARD_WITHHOLDS},
    {"rtx4090", {82.6e12, 165e12, 82e12, 1008e9}, false, CARD_WITHHOLDS},
    {"a100", {19.5e12, 312e12, 156e12, 1555e9}, false, CARD_WITHHOLDS},
    {"h100", {67e12, 790e12, 350e12, 3000e9}, false, CARD_WITHHOLDS},
};

const ctl_machine *ctl_machine_named(const char *name) {
    for (size_t k = 0; k < sizeof machines / sizeof *machines; k++)
        if (strcmp(machines[k].name, name) == 0) return &machines[k];
    return NULL;
}

const char *const *ctl_machine_names(void) {
    static const char *const names[] = {"cpu", "rtx3090", "rtx4090", "a100", "h100", NULL};
    return names;
}
