#pragma once
// From what the loader reads to what the model reads.

#include "data/batch.h"
#include "layers/rows.h"

namespace tessera {

/// Shares the batch's tensors; builds the lists of candidates for routing.
Rows rows_of(const Batch& batch);

}  // namespace tessera
