#pragma once
// From a manifest to documents of ids: which documents are used, on which side of the split, in which order, and how
// they read as tokens.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/image_tokenizer.h"
#include "data/manifest.h"
#include "data/text_tokenizer.h"
#include "data/vocabulary.h"
#include "runtime/thread_pool.h"

namespace tessera {

struct CorpusOptions {
  /// By source: about so much of its text is used, drawn by seed.
  std::map<std::string, int64_t> max_text_bytes = {};
  /// Of the groups, for documents that name no split.
  double validation_share = 0.02;
  uint64_t seed = 0;
};

struct Corpus {
  /// Shuffled by seed; parts already in the order that flip decided.
  std::vector<ManifestDocument> train;
  std::vector<ManifestDocument> validation;
  std::set<std::string> sources;    ///< of the manifest, those of documents that are not used too
  std::string manifest_hash;        ///< of the bytes of the manifest
  std::vector<std::string> images;  ///< every path once, in order of first use, train before validation
};

/// Throws Error for a bad line, an id that comes twice, or a limit for a source that the manifest does not have.
Corpus read_corpus(const std::string& manifest, const CorpusOptions& options);

/// Lines of the train documents up to about max_bytes, for the text tokenizer to learn from.
std::vector<std::string> sample_lines(const std::vector<ManifestDocument>& documents, int64_t max_bytes);

/// The pictures of a corpus as codes.
class ImageLibrary {
 public:
  explicit ImageLibrary(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  /// At most sample_images pictures, drawn by seed, for a codebook to learn from.
  std::vector<Image> sample(int64_t sample_images, int64_t side, uint64_t seed, ThreadPool& pool) const;
  void encode(const ImageTokenizer& tokenizer, ThreadPool& pool);
  /// Codes of an image, after encode().
  const std::vector<int32_t>& codes(const std::string& path) const { return codes_.at(index_.at(path)); }

 private:
  std::vector<std::string> paths_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::vector<int32_t>> codes_;
};

/// Ids of each document without <s> and </s>: text as pieces, an image as begin-of-image, codes, end-of-image.
std::vector<std::vector<int32_t>> encode_documents(const std::vector<ManifestDocument>& documents,
                                                   const TextTokenizer& text, const ImageLibrary& images,
                                                   const Vocabulary& vocabulary, ThreadPool& pool);

}  // namespace tessera
