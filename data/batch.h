#pragma once
// One micro-batch, as the model eats it: units one after another, length rows each.

#include <cstdint>
#include <vector>

#include "data/vocabulary.h"
#include "runtime/tensor.h"

namespace tessera {

/// The rows whose token is of one modality, in increasing order, padding left out.
struct ModalityRows {
  Tensor index;       ///< [count] i32; a tensor of no elements when count is 0
  int64_t count = 0;  ///< known on the host, so routing needs no synchronisation
};

struct Batch {
  Tensor tokens;   ///< [rows] i32
  Tensor targets;  ///< [rows] i32: the next token of the same document; -1 is not scored: last of a document,
                   ///< padding
  Tensor positions;  ///< [rows] i32: 0, 1, ... from the start of the segment

  /// Row numbers from 0 to rows, increasing: rows [segments[i], segments[i + 1]) attend to each other.  A
  /// segment is a document (or the padding at the end of a unit); with attend_across_documents it is a unit.
  std::vector<int64_t> segments;
  /// Row numbers from 0 to rows, increasing: the units, which are the pools of expert choice.
  std::vector<int64_t> units;

  std::vector<ModalityRows> rows;  ///< by Modality
  PerModality target_counts{};     ///< scored targets, by modality of the target
  int64_t step = 0;
  int64_t leaf = 0;  ///< index of this micro-batch in its step: the leaf of every canonical sum
};

}  // namespace tessera
