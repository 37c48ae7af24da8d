#pragma once
// One micro-batch, number by number, so that another implementation can be compared with this one.

#include <string>

namespace tessera {

struct InspectStepOptions {
  std::string checkpoint;
  std::string data;  ///< empty: what the model was trained on
  std::string out;
};

/// Runs micro-batch 0 of the checkpoint's next step forward and backward on one rank and one thread, and writes an HDF5
/// file; names and conventions are in docs/numerics.md.  Returns the exit code.
int run_inspect_step(const InspectStepOptions& options);

}  // namespace tessera
