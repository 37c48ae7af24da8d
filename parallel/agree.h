#pragma once
// Failures in common: what one rank cannot do, no rank goes on without.

#include <functional>

#include "parallel/communicator.h"
#include "runtime/error.h"

namespace tessera {

/// Thrown on every rank with the same text, so that one of them can say it for all.
class AgreedError : public Error {
 public:
  using Error::Error;
};

/// Runs action on every rank, then throws AgreedError on all when it has thrown on any: its message when all have the same,
/// else that of the first rank that has one, with the rank in front.  Collective; action must not be.
void agree(Communicator& communicator, const std::function<void()>& action);

}  // namespace tessera
