#pragma once
// How much travels.

#include <map>
#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace tessera {

/// Bytes that a rank sent to other ranks, by what for (Communicator::about()).  What a rank keeps for itself travels nowhere.
using Traffic = std::map<std::string, int64_t>;

/// inner, and the groups that are split from it, with all that this rank sends added to sent.  Both must outlive it.
std::unique_ptr<Communicator> counted(Communicator& inner, Traffic& sent);

}  // namespace tessera
