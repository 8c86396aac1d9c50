/* lanes_bf16: the kernels for x86-64-v4 with AVX512-BF16; see CMakeLists.txt for the flags. */
#define LANES_TABLE ctl_lanes_bf16
#define LANES_NAME  "bf16"
#include "runtime/cpu/lanes_all.h"
