#pragma once
// `tessera train --dry-run`: the memory that every rank of a training will take, whether the machine has it, and if not, what
// to change.

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "launch/memory_plan.h"

namespace tessera {

struct DryRunOptions {
  int64_t ranks = 0;           ///< to think up; 0 = those that run the command
  int64_t ranks_per_node = 0;  ///< 0 = all of them, or as many as run on this machine
  std::string memory;  ///< "16GiB" of a machine, or of a GPU for device=cuda; empty = what this one has left
  bool json = false;
};

/// "1.5GiB", "800 MB", "123456": bytes.  Throws Error naming what was asked for otherwise.
int64_t parse_bytes(const std::string& what, const std::string& text);

/// What to change so that a training fits.
struct MemoryFix {
  std::vector<std::string> settings{};  ///< of the config, as on the command line
  int ranks = 0;
  std::string price{};  ///< in words
  int64_t need = 0;     ///< bytes of the neediest rank then
};

/// The cheapest change that makes every rank need room bytes at most, if there is one; each is tried by planning with it.
/// In order of price: gathering twice, recomputing, bf16, smaller micro-batches, more ranks.  Collective.
std::optional<MemoryFix> cheapest_fix(const Config& config, const PlanOptions& options, int ranks,
                                      int64_t room, Communicator& world);

/// Prints the plan of every rank on rank 0.  Collective.  Throws AgreedError with need, room and the cheapest fix when a rank does
/// not fit.
void dry_run(const Config& config, const DryRunOptions& options, Communicator& world, std::ostream& out);

}  // namespace tessera
