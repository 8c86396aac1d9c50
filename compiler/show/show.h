/* show: the network of a spec (compiler/elaborate/network.h) for people to look at, as text or in Graphviz' language.
 * What is repeated stands once: neighbours of a family that are alike are a run, of which one member is unfolded. */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include "compiler/elaborate/network.h"

/* Is there a repeated section of this path, or of one that ends in it? *choices: those that there are, for a hint. */
bool ctl_show_finds(const ctl_network *network, const char *unfold, ctl_text *choices);
/* unfold: the member that stands for its run; NULL: the first one, where it is not too long. */
/* sources: where lines are looked up, behind each edge; NULL: they are not shown. */
void ctl_show_text(const ctl_network *network, const char *unfold, const ctl_sink *sources, ctl_text *out);
void ctl_show_dot(const ctl_network *network, const char *unfold, ctl_text *out);

#endif
