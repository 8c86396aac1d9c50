/* lanes_base: the kernels for any CPU; see CMakeLists.txt for the flags. */
#define LANES_TABLE ctl_lanes_base
#define LANES_NAME  "base"
#include "runtime/cpu/lanes_all.h"
