/* lanes_v3: the kernels for x86-64-v3 (AVX2, FMA); see CMakeLists.txt for the flags. */
#define LANES_TABLE ctl_lanes_v3
#define LANES_NAME  "v3"
#include "runtime/cpu/lanes_all.h"
