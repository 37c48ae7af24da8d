#pragma once
// Sends and receives that run as one operation.

#include <deque>
#include <vector>

#include "tests/simulated_gpu/libraries/nccl_group.h"

namespace simulated_gpu {

class Transfers {
 public:
  Transfers(CommunicatorPointer communicator, const std::vector<Transfer>& transfers);

  /// Goes as far as it can; true once every receive is written and every send has been taken by its
  /// receiver.  A message of another size or type than the receive ends all ranks.
  bool advance(const OperationPointer& operation);

 private:
  struct Receive {
    Transfer transfer;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Request request = MPI_REQUEST_NULL;
    std::vector<std::byte> bytes;
    bool is_matched = false, is_written = false;
  };
  struct Send {
    std::vector<std::byte> bytes;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void start_sends(const OperationPointer& operation);
  bool match(Receive& receive);
  bool is_next_from_peer(const Receive& receive) const;
  void write(Receive& receive, const OperationPointer& operation);

  CommunicatorPointer communicator_;
  std::vector<Transfer> transfers_;
  std::deque<Send> sends_;
  std::vector<Receive> receives_;
  bool is_started_ = false;
};

}  // namespace simulated_gpu
