#pragma once
// What attention layers keep of rows that a model has read, so that it can go on without reading them again.
//
// A layer with mixture-of-depths keeps the rows that entered it, so the layers hold different numbers of rows.

#include <vector>

#include "layers/model_config.h"
#include "layers/rows.h"

namespace tessera {

class KeyValueCache {
 public:
  /// capacity: rows of one sequence, at most.
  KeyValueCache(const ModelConfig& config, int64_t sequences, int64_t capacity);

  /// q, k, v [rows, heads, head_dim] of new rows, which are remembered -> what attention gives for them, by all rows of their
  /// sequences up to themselves.  No gradients.  Throws Error when a sequence has no room for its rows.
  Tensor attend(int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v, const Rows& rows);

  /// Forgets the rows of a sequence.
  void clear(int64_t sequence);

 private:
  int64_t sequences_, capacity_;
  std::vector<SeenRows> seen_;              ///< by layer; memory from its first rows on
  std::vector<std::vector<int64_t>> used_;  ///< by layer and sequence: rows
};

}  // namespace tessera
