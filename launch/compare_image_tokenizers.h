#pragma once
// `tessera compare-image-tokenizers`: a learned image tokenizer beside a k-means codebook of as many codes, on held-out
// pictures.
//
//   OUT/comparison.json      pictures, codes_per_image, codebook_size, and for "learned" and "k_means": mse (squared grey
//                            levels), psnr (dB), codes_used (share of the codebook), code_perplexity
//   OUT/contact_sheet.png    some of the pictures in columns: as they are, from k-means codes, from learned codes

#include <string>

namespace tessera {

struct CompareImageTokenizersOptions {
  std::string learned;   ///< run folder, checkpoint or dataset of a learned tokenizer
  std::string manifest;  ///< empty: the one that it was trained on
  std::string codebook;  ///< file or dataset of a k-means codebook; empty: learned now from the same pictures
  std::string out;       ///< folder
  int threads = 0;       ///< 0 = one per processor
};

/// Prints a table as well.  Throws Error when the two do not have the same number of codes for pictures of the same size.
void compare_image_tokenizers(const CompareImageTokenizersOptions& options);

}  // namespace tessera
