#pragma once
// The arithmetic of NCCL's reductions.

#include <nccl.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace simulated_gpu {

/// Bytes of one element.  Throws std::runtime_error for types that are not simulated (8-bit floats).
size_t bytes_of(ncclDataType_t type);
const char* name_of(ncclDataType_t type);
const char* name_of(ncclRedOp_t op);

/// Reduces `ranks` arrays of `count` elements, which lie one behind the other in parts, to the first one's
/// size.
///
/// As around a ring, part i / (count / ranks) of the elements starts at another rank, and every partial
/// result is rounded to the element type; `turn` moves all starts, so that no program comes to lean on one
/// order.  The average of floats scales before it sums, that of integers divides afterwards.
std::vector<std::byte> reduce(const std::vector<std::byte>& parts, size_t count, int ranks,
                              ncclDataType_t type, ncclRedOp_t op, uint64_t turn);

}  // namespace simulated_gpu
