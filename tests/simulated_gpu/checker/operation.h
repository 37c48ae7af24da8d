#pragma once
// An operation on a device: a launch, copy, memset, library call or host callback, and its place in the order
// that streams, events and synchronisations make.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace simulated_gpu {

/// Component i counts the operations of timeline i (a stream, or the host) that are known to come before.
class VectorClock {
 public:
  void advance(int timeline);
  void join(const VectorClock& other);
  uint64_t operator[](int timeline) const;  ///< 0 for a timeline that it never heard of

 private:
  std::vector<uint64_t> counts_;
};

struct Operation {
  std::string name;   ///< "launch softmax_rows", "cudaMemcpyAsync host to device", "ncclAllGather" ...
  int timeline = 0;   ///< the stream (or host) it runs on
  VectorClock clock;  ///< of everything before it, itself included
};

/// True when a comes before b in every interleaving.  No operation comes before itself.
bool happens_before(const Operation& a, const Operation& b);

using OperationPointer = std::shared_ptr<const Operation>;

}  // namespace simulated_gpu
