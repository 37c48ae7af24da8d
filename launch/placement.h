#pragma once
// Where the ranks of a run are: machines, cores and GPUs, as the system says, whatever launcher put them there.

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/fields.h"

namespace tessera {

/// What a rank was given.
struct RankPlace {
  std::string host;
  std::vector<int> cores{};  ///< that it may run on
  std::string visible_gpus;  ///< CUDA_VISIBLE_DEVICES

  auto fields() {
    return std::tuple{Field{"host", host}, Field{"cores", cores}, Field{"visible_gpus", visible_gpus}};
  }
};

/// The ranks that share a machine with this one.
struct Placement {
  int local_rank = 0;
  int local_ranks = 1;
  int64_t cores = 1;  ///< that any of them may run on
  int gpu = 0;        ///< number of this rank's GPU among those that it sees

  /// Compute threads of each of them, when none is to share a core.
  int threads() const;
};

RankPlace own_place();
/// Of every rank, in rank order.  Collective.
std::vector<RankPlace> gather_places(Communicator& world);
Placement placement_of(int rank, const std::vector<RankPlace>& places);

}  // namespace tessera
