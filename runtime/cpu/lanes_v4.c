/* lanes_v4: the kernels for x86-64-v4 (AVX-512); see CMakeLists.txt for the flags. */
#define LANES_TABLE ctl_lanes_v4
#define LANES_NAME  "v4"
#include "runtime/cpu/lanes_all.h"
