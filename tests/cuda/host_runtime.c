/* host_runtime: host.h's threads, compiled once for all the kernel sources that the stand-in of CUDA's compiler compiles. */
#define HOST_RUNTIME 1
#include "tests/cuda/host.h"
