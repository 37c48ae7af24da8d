#include "launch/picture_sides.h"

#include <unordered_set>

#include "data/corpus.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// Every picture once, without those that were seen.
std::vector<std::string> pictures_of(const std::vector<ManifestDocument>& documents,
                                     std::unordered_set<std::string>& seen) {
  std::vector<std::string> paths;
  for (const ManifestDocument& document : documents)
    for (const ManifestPart& part : document.parts)
      if (part.is_image && seen.insert(part.value).second) paths.push_back(part.value);
  return paths;
}

}  // namespace

PictureSides read_picture_sides(const std::string& manifest, double validation_share, uint64_t seed) {
  const Corpus corpus = read_corpus(manifest, {.validation_share = validation_share, .seed = seed});
  std::unordered_set<std::string> seen;
  PictureSides sides;
  sides.held_out = pictures_of(corpus.validation, seen);
  sides.train = pictures_of(corpus.train, seen);
  TESSERA_CHECK(!sides.train.empty(), "manifest: ", manifest, " has no pictures to learn from");
  TESSERA_CHECK(!sides.held_out.empty(), "manifest: ", manifest, " has no pictures on its validation side");
  return sides;
}

std::vector<Image> load_pictures(const std::vector<std::string>& paths, int64_t count, int64_t side,
                                 uint64_t seed, ThreadPool& pool) {
  return ImageLibrary(paths).sample(count, side, seed, pool);
}

}  // namespace tessera
