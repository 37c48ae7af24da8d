// A module of its own: no kernel beside the instruction can be used.
#include "tests/simulated_gpu/tests/cuda/kernels.h"

namespace simulated_gpu::tests {
namespace {

__global__ void performance_event() { asm volatile("pmevent 1;"); }

}  // namespace

void launch_unknown_instruction(cudaStream_t stream) { performance_event<<<1, 32, 0, stream>>>(); }

}  // namespace simulated_gpu::tests
