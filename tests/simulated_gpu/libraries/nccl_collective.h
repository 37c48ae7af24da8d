#pragma once
// One collective call of one rank: waits for the others, compares what they call, exchanges, writes the
// result.

#include <optional>
#include <vector>

#include "tests/simulated_gpu/libraries/nccl_communicator.h"

namespace simulated_gpu {

enum class CollectiveKind : int { all_gather, all_reduce, reduce_scatter, broadcast, reduce };

/// What all ranks must call alike.
struct CollectiveCall {
  CollectiveKind kind;
  ncclDataType_t type;
  ncclRedOp_t op;  ///< ncclSum where nothing is reduced
  int root;        ///< 0 where there is none
  uint64_t count;  ///< as in the call: all_gather counts what a rank sends, reduce_scatter what it receives

  bool operator==(const CollectiveCall&) const = default;
};

const char* name_of(CollectiveKind kind);          ///< "ncclAllGather"
std::string describe(const CollectiveCall& call);  ///< "AllReduce of 2048 float32, sum"

class Collective {
 public:
  /// number: which collective of the communicator it is, from 1.
  Collective(CommunicatorPointer communicator, CollectiveCall call, uint64_t number, const void* send,
             void* receive);

  /// Goes as far as it can; true once the result is written.  Ranks that call something else end all of them.
  bool advance(const OperationPointer& operation);

 private:
  enum class Phase { before, comparing, exchanging };

  void start_comparing();
  void compare() const;
  void start_exchange(const OperationPointer& operation);
  void write_result(const OperationPointer& operation);
  bool is_done(MPI_Request& request) const;

  CommunicatorPointer communicator_;
  CollectiveCall call_;
  uint64_t number_;
  uint64_t send_, receive_;  ///< device addresses
  Phase phase_ = Phase::before;
  MPI_Request request_ = MPI_REQUEST_NULL;
  std::vector<CollectiveCall> calls_;  ///< of all ranks
  std::vector<std::byte> outgoing_, incoming_;
};

}  // namespace simulated_gpu
