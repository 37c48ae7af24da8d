#pragma once
// A small dataset made from a seed, for tests and smoke runs: no pictures, no tokenizers, structure that can
// be learnt.

#include <cstdint>
#include <string>

namespace tessera {

struct SyntheticOptions {
  int64_t length = 64;
  int64_t codes_per_image = 16;
  int64_t images_per_unit = 2;
  int64_t image_codes = 32;
  int64_t text_pieces = 26;
  int64_t mixed_units = 64;  ///< of the train split; validation has a quarter of each, at least one
  int64_t text_units = 32;
};

/// Writes train and validation into a folder, which appears whole or not at all.  Text walks the pieces with
/// a random stride per document, an image repeats a row of codes, and a caption names its image's first code.
/// Throws Error when an image and its caption do not fit options.length / options.images_per_unit.
void write_synthetic_dataset(const std::string& folder, uint64_t seed, const SyntheticOptions& options = {});

}  // namespace tessera
