#pragma once
// `tessera match-captions`: do generated pictures fit the captions that they were made for?
//
// Each picture is looked up among reference pictures by colours (mean red, green, blue of 4 x 4 fields) and shape (share of 8 x 8
// fields that is not nearly white); the caption of the nearest one is compared with the prompt by the words that they share,
//
//   similarity = |words of both| / |words of either|,   words of three letters and more.
//
// The mean over prompts is compared with the means when pictures are dealt out to prompts at random:
// p = (1 + deals that do as well) / (1 + deals).

#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"

namespace tessera {

struct CaptionMatchOptions {
  std::string replies;  ///< replies.jsonl of `tessera generate`: text prompts, each with a picture as answer
  std::string references;  ///< manifest of documents with a text and a picture
  std::string out;  ///< JSON file: prompts, references, similarity, similarity_by_chance, p, and each match
  int64_t deals = 10000;
  uint64_t seed = 1;
};

/// Colours and shape as numbers whose Euclidean distance says how different two pictures look: 48 + 64.
std::vector<float> look_of(const Image& image);

/// Of two captions, from 0 to 1; 0 when neither has words.
double caption_similarity(const std::string& a, const std::string& b);

/// Prints the result.  Throws Error when a file cannot be read, or holds no prompt with a picture, or no reference.
void match_captions(const CaptionMatchOptions& options);

}  // namespace tessera
