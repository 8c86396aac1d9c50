/* adapt: what the controls of a spec did to its model, for programs to carry. */
#ifndef CTL_ADAPT_H
#define CTL_ADAPT_H

#include "compiler/elaborate/internal.h"
#include "compiler/elaborate/network.h"
#include "runtime/adaptation.h"

/* In the elaborator's arena. */
ctl_adaptation *ctl_adapt_read(ctl_elab *e, ctl_instance *root, const ctl_network *network);

#endif
