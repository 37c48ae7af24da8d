#pragma once
// What every communicator shares: the checks of a rank's own arguments, and collectives on host memory.

#include <cstddef>
#include <span>
#include <vector>

#include "parallel/communicator.h"

namespace tessera {

/// Throw Error naming the collective when a rank's own arguments do not fit together.
void check_all_gather(const Tensor& part, const Tensor& whole, int size);
void check_all_to_all(const Tensor& send, std::span<const int64_t> send_counts, const Tensor& receive,
                      std::span<const int64_t> receive_counts, int size);
void check_broadcast(int root, int size);
void check_split(int color);

/// The same number of bytes from every rank, in rank order.  Blocking.
std::vector<std::byte> all_gather_bytes(Communicator& communicator, std::span<const std::byte> bytes);

}  // namespace tessera
