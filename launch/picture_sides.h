#pragma once
// The pictures of a corpus, apart by the sides of its split.

#include <string>
#include <vector>

#include "data/image.h"
#include "runtime/thread_pool.h"

namespace tessera {

struct PictureSides {
  std::vector<std::string> train, held_out;  ///< paths; a picture of both sides is held out
};

/// Of the documents as prepare splits them (data/corpus.h).  Throws Error when the manifest cannot be read or a side has no
/// picture.
PictureSides read_picture_sides(const std::string& manifest, double validation_share, uint64_t seed);

/// At most count of the pictures, drawn by seed, as squares of this side.  Throws Error naming the file that is no picture.
std::vector<Image> load_pictures(const std::vector<std::string>& paths, int64_t count, int64_t side,
                                 uint64_t seed, ThreadPool& pool);

}  // namespace tessera
