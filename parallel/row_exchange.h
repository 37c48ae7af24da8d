#pragma once
// Rows that travel between ranks: dispatch to the ranks that hold the experts, and the way back.

#include <memory>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "parallel/communicator.h"

namespace tessera {

/// Rows by rank, end to end in rank order.  Every rank knows both beforehand.
struct RowCounts {
  std::vector<int64_t> send, receive;
};

/// An all-to-all of rows that is under way from construction to wait(), and in backward, the other way round, from where
/// backward meets wait() to where it meets construction: what is computed between the two hides it on both passes.  The
/// dtype on the wire is that of the rows, and of their gradient.
class RowExchange {
 public:
  /// Names of the ranges in a trace.
  struct Names {
    const char *start, *wait;
  };
  static constexpr Names kDispatch{"expert_dispatch", "wait_for_dispatch"};
  static constexpr Names kCombine{"expert_combine", "wait_for_combine"};

  /// x: [sum of send, width].  communicator must live until backward has passed.  experts: whose rows they are, for whoever looks
  /// at what travels.
  RowExchange(Names names, const std::string& experts, const Var& x, Communicator& communicator,
              const RowCounts& counts);

  /// [sum of receive, width]
  Var wait() &&;

 private:
  struct Flight;
  std::shared_ptr<Flight> flight_;
  Var flying_;
};

}  // namespace tessera
