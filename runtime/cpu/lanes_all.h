/* lanes_all: the table of kernels, built once in each lanes_*.c under the name LANES_TABLE for the
 * instruction set that file is compiled for. */
#include "runtime/cpu/attend.h"
#include "runtime/cpu/attend_grad.h"
#include "runtime/cpu/finish.h"
#include "runtime/cpu/product.h"

static void product(const ctl_block *b, char *scratch) {
    if (b->bf16)
        product_block(b, scratch, true);
    else
        product_block(b, scratch, false);
}

static void pack(const ctl_pack *p) {
    if (p->bf16)
        pack_panels(p, true);
    else
        pack_panels(p, false);
}

static void attend(const ctl_attend *a, const ctl_attend_unit *u, char *scratch) {
    if (a->bf16)
        attend_unit(a, u, scratch, true);
    else
        attend_unit(a, u, scratch, false);
}

static void attend_grad(const ctl_attend *a, const ctl_attend_unit *u, char *scratch) {
    if (a->bf16)
        attend_grad_unit(a, u, scratch, true);
    else
        attend_grad_unit(a, u, scratch, false);
}

const ctl_lanes LANES_TABLE = {LANES_NAME, finish_product, finish_cross_entropy, product,
                               pack,       attend,         attend_grad};
