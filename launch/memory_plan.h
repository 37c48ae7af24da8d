#pragma once
// The memory that a training will take, found by running its first steps on tensors without storage.

#include <string>
#include <tuple>
#include <vector>

#include "launch/config.h"
#include "parallel/communicator.h"
#include "runtime/meta_engine.h"

namespace tessera {

/// Bytes of one rank.
struct MemoryPlan {
  // Tensors when all of them together are most.
  int64_t parameters = 0;     ///< f32 shards
  int64_t gradients = 0;      ///< f32 shards, and whole ones while they are formed and summed
  int64_t moments = 0;        ///< of AdamW
  int64_t communication = 0;  ///< gathered parameters, and rows and gradients on their way
  int64_t activations = 0;    ///< and everything else; micro-batches that wait too
  int64_t scratch = 0;        ///< of a matrix product
  int64_t peak = 0;           ///< the sum of these: "memory" of metrics.jsonl
  // What else lies in memory.
  int64_t gaps = 0;     ///< between tensors: the arena's size less its peak
  int64_t saving = 0;   ///< values on their way to a checkpoint
  int64_t program = 0;  ///< code, libraries and their buffers

  int64_t total() const { return peak + gaps + saving + program; }
  auto fields() {
    return std::tuple{Field{"parameters", parameters},
                      Field{"gradients", gradients},
                      Field{"moments", moments},
                      Field{"communication", communication},
                      Field{"activations", activations},
                      Field{"scratch", scratch},
                      Field{"peak", peak},
                      Field{"gaps", gaps},
                      Field{"saving", saving},
                      Field{"program", program}};
  }
};

/// What is the same for all ranks of a machine.
struct PlanOptions {
  int64_t steps = 4;         ///< the first ones, whose micro-batches are read
  ProductScratch scratch{};  ///< from product_scratch()
  int64_t program = 0;       ///< MemoryPlan::program
};

/// On so many threads; measured.
ProductScratch product_scratch(const Config& config, int threads);

/// Of this rank of world, which may be a rank of any size: its peers run the same.  Collective.  Throws AgreedError when the config
/// fits neither the ranks nor the dataset.
///
/// The routers of models with mixture-of-depths are taken to choose rows evenly from both modalities; all else that decides on
/// shapes (documents, modalities of tokens) is read from the data.
MemoryPlan plan_memory(const Config& config, const PlanOptions& options, Communicator& world);

/// The same of every rank, in rank order: those of world, or, when it has another size, ranks that are thought up.  Collective.
std::vector<MemoryPlan> plan_ranks(const Config& config, const PlanOptions& options, int ranks,
                                   Communicator& world);

}  // namespace tessera
