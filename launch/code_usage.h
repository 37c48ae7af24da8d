#pragma once
// Which codes of a learned codebook are in use, and what becomes of those that are not.

#include <span>
#include <vector>

#include "autograd/optimizer.h"
#include "parallel/sharded.h"

namespace tessera {

struct CodeUsage {
  double used = 0;  ///< share of the codes that occur
  double perplexity =
      0;  ///< e to the entropy of their distribution: the size of a codebook used evenly; 0 of none
};
/// counts: occurrences of each code.
CodeUsage usage_of(std::span<const int64_t> counts);

/// Encoder outputs of a step over all micro-batches, on the host.
struct EncodedRows {
  int64_t width = 0;
  std::vector<float> rows;    ///< [n, width]
  std::vector<float> errors;  ///< [n] squared distance to the code of each
};

/// Codes without a count start anew: each takes an encoder output, drawn by (seed, step, code) with a probability in
/// proportion to its error, and the optimizer forgets what it knew of them.  pieces and optimizer: those of the model; only
/// elements of the parameter named codebook change.  Returns how many started anew: none where all errors are 0.
/// Source: dead codes, Dhariwal et al., Jukebox (arXiv 2005.00341), A.3; the draw, Arthur and Vassilvitskii, k-means++, 2007.
int64_t revive_codes(std::span<const int64_t> counts, const EncodedRows& encoded, int64_t step, uint64_t seed,
                     const std::string& codebook, const std::vector<ShardPiece>& pieces,
                     const AdamW& optimizer);

}  // namespace tessera
