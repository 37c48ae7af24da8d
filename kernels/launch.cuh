#pragma once
// What every kernel needs around its own code: a typed launch on the stream of an engine, dynamic shared
// memory, and a guard for values that only the device sees.

#include <cuda_runtime.h>

#include <limits>
#include <type_traits>

#include "runtime/cuda_engine.h"

namespace tessera::kernels {

struct Grid {
  dim3 blocks, threads;  ///< threads: a multiple of 32
  size_t shared_bytes = 0;
};

/// Blocks that cover count items.  Throws Error when a grid cannot have that many.
inline unsigned blocks_for(int64_t count, int64_t per_block) {
  const int64_t blocks = (count + per_block - 1) / per_block;
  TESSERA_CHECK(blocks <= std::numeric_limits<int32_t>::max(), "cuda: ", count, " items, ", per_block,
                " per block, exceed a grid");
  return static_cast<unsigned>(blocks);
}

/// Queues the kernel and leaves a range of this name, which must be a literal, in the trace: the host's time
/// for the launch.  A grid without blocks is skipped.  Throws Error that begins with the name.
template <class... Parameters>
void launch(const char* name, void (*kernel)(Parameters...), Grid grid, Stream stream,
            std::type_identity_t<Parameters>... arguments) {
  // Dynamic and static shared memory beyond 48 KiB together need a permission; no kernel has 8 KiB of the
  // static kind.
  constexpr size_t kFreeSharedBytes = 40 * 1024;
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  CudaEngine& engine = cuda_engine_of(stream);
  TraceRange range(engine.trace, name);
  if (grid.shared_bytes > kFreeSharedBytes)
    cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(grid.shared_bytes)),
               name);
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = engine.stream_handle;
  cuda_check(cudaLaunchKernelEx(&config, kernel, arguments...), name);
}

/// The dynamic shared memory of the block, aligned to 16 bytes.
template <class T>
__device__ T* shared_memory() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

/// Stops the kernel unless the condition holds: the next check of the stream throws Error.
inline __device__ void require(bool condition) {
  if (!condition) __trap();
}

}  // namespace tessera::kernels
