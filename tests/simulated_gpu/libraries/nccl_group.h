#pragma once
// ncclGroupStart and ncclGroupEnd: calls between them are queued together, and sends and receives of one
// communicator and stream become one operation, so that they cannot wait for each other.

#include <functional>

#include "tests/simulated_gpu/libraries/nccl_communicator.h"

namespace simulated_gpu {

/// Queues the call now, or at the end of the calling thread's group.
ncclResult_t in_group(std::function<ncclResult_t()> call);

struct Transfer {
  bool is_send;
  uint64_t address;
  uint64_t count;
  ncclDataType_t type;
  int peer;
};

ncclResult_t transfer_in_group(const CommunicatorPointer& communicator, cudaStream_t stream,
                               const Transfer& transfer);

}  // namespace simulated_gpu
