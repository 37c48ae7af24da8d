#pragma once
// One warp per call runs one instruction of kernels/mma.cuh or kernels/async_copy.cuh and returns what its
// lanes got.

#include <array>
#include <cstdint>
#include <vector>

namespace simulated_gpu {

template <class T, int N>
using ByLane = std::array<std::array<T, N>, 32>;

struct MmaRegisters {
  ByLane<uint32_t, 4> a;
  ByLane<uint32_t, 2> b;
  ByLane<float, 4> d;
};
ByLane<float, 4> run_mma_16x8x16(const MmaRegisters& registers);

/// memory: at most 1,024 elements, from the start of shared memory; rows[lane]: the element a lane points to.
ByLane<uint32_t, 4> run_load_matrices(const std::vector<uint16_t>& memory, const std::array<int, 32>& rows);
ByLane<uint32_t, 4> run_load_matrices_transposed(const std::vector<uint16_t>& memory,
                                                 const std::array<int, 32>& rows);

std::array<uint32_t, 32> run_pack_bf16(const std::array<float, 32>& low, const std::array<float, 32>& high);

/// Every lane copies 16 (4) bytes of its own, counts[lane] of them from the source, over bytes that are all
/// 0xee.
ByLane<uint8_t, 16> run_copy_16_async(const ByLane<uint8_t, 16>& from, const std::array<int, 32>& counts);
ByLane<uint8_t, 4> run_copy_4_async(const ByLane<uint8_t, 4>& from, const std::array<int, 32>& counts);

}  // namespace simulated_gpu
