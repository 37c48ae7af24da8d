#pragma once
// `tessera upcycle`: a trained model becomes the seed of one with more experts.
//
//   every expert is a clone of the source's network for the same modalities: dense -> NtMi, 1t1i -> NtMi, either with +shared
//   routers, and auxiliary routers that the source lacks, are new; every other parameter is copied
//   the learning-rate schedule starts anew; the data goes on at the next sample
//
// Source: MoMa (arXiv 2407.21770), 2.5; Komatsuzaki et al., Sparse upcycling (arXiv 2212.05055); partial re-initialisation:
// Drop-upcycling (arXiv 2502.19261).

#include <string>
#include <vector>

#include "launch/run_state.h"
#include "parallel/communicator.h"

namespace tessera {

struct UpcycleOptions {
  std::string source;  ///< run folder; its latest checkpoint is the seed
  std::vector<std::string>
      overrides;  ///< key=value on top of the seed's config: out and model.feed_forward at least
  std::string moments =
      "reset";  ///< of AdamW: "reset" to zero, or "clone" where their parameter is copied or cloned
  double reinitialise =
      0;  ///< share of each clone's hidden units drawn anew, with the mean and deviation of the original
};

struct Upcycled {
  std::string checkpoint;  ///< of the seed
  int64_t step = 0;        ///< steps that the seed has done
  std::string out;
  double seed_loss = 0, loss = 0;  ///< of both models on the next micro-batch, nats per scored target
};

/// The config of the new run: the seed's with overrides, and what starts anew.  Throws Error when it does not fit the seed.
Config upcycled_config(const SavedRun& seed, const UpcycleOptions& options);

/// Writes a run folder whose first checkpoint is the upcycled model, at the step of the seed: `tessera train
/// OUT/config.json` goes on from it.  The difference of the two losses is the jump: rounding and epsilon where all tokens
/// reach an expert, norm is "post" and gate_order "gate_then_norm"; elsewhere it is what it is.  For one rank.
/// Throws Error when a parameter has nothing to be copied from, or the seed has one that would be lost; then nothing is
/// written.
Upcycled upcycle(const UpcycleOptions& options, Communicator& world);

/// The same for the command line: prints the result and returns the exit code.
int run_upcycle(const UpcycleOptions& options);

}  // namespace tessera
