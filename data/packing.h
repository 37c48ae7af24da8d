#pragma once
// Documents of any length become units of one length, so that every micro-batch holds its modality ratio by construction.
//
// A mixed unit holds exactly images_per_unit images.  Every image brings a quota of length / images_per_unit tokens, so
// pieces within their quotas always fit together.  A document with images is cut into the longest pieces within quota:
// never inside an image; text that finds no room beside an image joins the documents of text alone.  Those fill what
// is left in the mixed units, cut where a unit ends, and then make the text units.  Every piece starts with <s>; </s>
// ends the last piece of a document.  <pad> stands where fewer than kShortestPiece tokens are left, or no text is.

#include <cstdint>
#include <vector>

#include "data/shard.h"
#include "data/vocabulary.h"

namespace tessera {

struct PackingOptions {
  int64_t length = 0;
  int64_t codes_per_image = 0;
  int64_t images_per_unit = 0;  ///< 0: documents have no images
};

struct Packed {
  std::vector<Unit> mixed, text;
  int64_t images_dropped = 0;       ///< of the last mixed unit, which could not be filled
  int64_t text_tokens_dropped = 0;  ///< text that went with them
};

inline constexpr int64_t kShortestPiece = 8;  ///< text pieces that fill a gap are not shorter

/// documents: the order in which they are used; each the ids of a document without <s> and </s>, where an image is
/// begin-of-image, codes, end-of-image.  Throws Error when a unit has no room for images_per_unit images, or a document
/// holds images though images_per_unit is 0.
Packed pack(const std::vector<std::vector<int32_t>>& documents, const Vocabulary& vocabulary,
            const PackingOptions& options);

}  // namespace tessera
