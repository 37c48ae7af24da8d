#include "data/corpus.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "data/fingerprint.h"
#include "runtime/error.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr Purpose kLimit("documents within the limit of a source"), kFlip("image or text first"),
    kOrder("order of documents"), kSample("images of the codebook");

int64_t text_bytes(const ManifestDocument& document) {
  int64_t bytes = 0;
  for (const ManifestPart& part : document.parts)
    if (!part.is_image) bytes += std::ssize(part.value);
  return bytes;
}

struct ManifestSurvey {
  std::map<std::string, int64_t> text_bytes;  ///< by source
  std::string hash;
};

/// The first of two passes: nothing is kept, every line is checked.
ManifestSurvey survey(const std::string& manifest) {
  ManifestSurvey found;
  Fingerprint hash;
  std::unordered_set<uint64_t> seen;
  ManifestReader reader(manifest);
  for (ManifestDocument document; reader.next(document);) {
    TESSERA_CHECK(seen.insert(hash_of(document.id)).second, "manifest: ", manifest, " line ", reader.line(),
                  ": id \"", document.id, "\" comes a second time");
    found.text_bytes[document.source] += text_bytes(document);
    hash.add(reader.line_bytes());
  }
  TESSERA_CHECK(!seen.empty(), "manifest: ", manifest, " has no documents");
  found.hash = hash.hex();
  return found;
}

bool in_validation(const ManifestDocument& document, double share) {
  if (!document.split.empty()) return document.split == "validation";
  const uint64_t hash = hash_of(document.group.empty() ? document.id : document.group);
  return static_cast<double>(hash >> 11) * 0x1p-53 < share;
}

void shuffle(std::vector<ManifestDocument>& documents, uint64_t seed) {
  std::vector<ManifestDocument> shuffled;
  shuffled.reserve(documents.size());
  for (uint64_t i = 0; i < documents.size(); ++i)
    shuffled.push_back(std::move(documents[random_permutation(seed, kOrder, documents.size(), i)]));
  documents = std::move(shuffled);
}

/// Text in pieces that the tokenizer's trainer takes, cut at line ends, else at spaces, else between characters.
void add_lines(const std::string& text, std::vector<std::string>& lines, int64_t& bytes) {
  constexpr size_t kLongest = 2000;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    if (end - begin > kLongest) {
      end = text.rfind(' ', begin + kLongest);
      if (end == std::string::npos || end <= begin) end = begin + kLongest;
      while (end < text.size() && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) ++end;
    }
    if (end > begin) lines.push_back(text.substr(begin, end - begin));
    bytes += static_cast<int64_t>(end - begin);
    begin = end + (end < text.size() && (text[end] == '\n' || text[end] == ' '));
  }
}

}  // namespace

Corpus read_corpus(const std::string& manifest, const CorpusOptions& options) {
  const ManifestSurvey found = survey(manifest);
  for (const auto& [source, limit] : options.max_text_bytes)
    TESSERA_CHECK(found.text_bytes.contains(source), "prepare: max_text_bytes names source \"", source,
                  "\", which is not in ", manifest);
  Corpus corpus;
  corpus.manifest_hash = found.hash;
  for (const auto& [source, bytes] : found.text_bytes) corpus.sources.insert(source);
  ManifestReader reader(manifest);
  for (ManifestDocument document; reader.next(document);) {
    const uint64_t key = hash_of(document.id);
    if (const auto limit = options.max_text_bytes.find(document.source);
        limit != options.max_text_bytes.end()) {
      const double share =
          static_cast<double>(limit->second) / static_cast<double>(found.text_bytes.at(document.source));
      if (random_uniform(options.seed, kLimit, key) >= share) continue;
    }
    if (document.flip && random_bits(options.seed, kFlip, key)[0] % 2)
      std::reverse(document.parts.begin(), document.parts.end());
    auto& side = in_validation(document, options.validation_share) ? corpus.validation : corpus.train;
    side.push_back(std::move(document));
  }
  shuffle(corpus.train, options.seed);
  shuffle(corpus.validation, options.seed);
  std::unordered_set<std::string> seen;
  for (const auto* documents : {&corpus.train, &corpus.validation})
    for (const ManifestDocument& document : *documents)
      for (const ManifestPart& part : document.parts)
        if (part.is_image && seen.insert(part.value).second) corpus.images.push_back(part.value);
  return corpus;
}

std::vector<std::string> sample_lines(const std::vector<ManifestDocument>& documents, int64_t max_bytes) {
  std::vector<std::string> lines;
  int64_t bytes = 0;
  for (const ManifestDocument& document : documents)
    for (const ManifestPart& part : document.parts)
      if (!part.is_image && bytes < max_bytes) add_lines(part.value, lines, bytes);
  return lines;
}

std::vector<Image> ImageLibrary::sample(int64_t sample_images, int64_t side, uint64_t seed,
                                        ThreadPool& pool) const {
  std::vector<Image> images(static_cast<size_t>(std::min(sample_images, std::ssize(paths_))));
  pool.run(std::ssize(images), [&](int64_t i, int) {
    const uint64_t drawn = random_permutation(seed, kSample, paths_.size(), static_cast<uint64_t>(i));
    images[static_cast<size_t>(i)] = centre_square(read_image(paths_[drawn]), side);
  });
  return images;
}

void ImageLibrary::encode(const ImageTokenizer& tokenizer, ThreadPool& pool) {
  codes_.assign(paths_.size(), {});
  pool.run(std::ssize(paths_), [&](int64_t i, int) {
    const auto at = static_cast<size_t>(i);
    codes_[at] = tokenizer.encode(centre_square(read_image(paths_[at]), tokenizer.side()));
  });
  for (size_t i = 0; i < paths_.size(); ++i) index_[paths_[i]] = i;
}

std::vector<std::vector<int32_t>> encode_documents(const std::vector<ManifestDocument>& documents,
                                                   const TextTokenizer& text, const ImageLibrary& images,
                                                   const Vocabulary& vocabulary, ThreadPool& pool) {
  std::vector<std::vector<int32_t>> encoded(documents.size());
  pool.run(std::ssize(documents), [&](int64_t i, int) {
    std::vector<int32_t>& ids = encoded[static_cast<size_t>(i)];
    for (const ManifestPart& part : documents[static_cast<size_t>(i)].parts) {
      if (part.is_image) {
        ids.push_back(vocabulary.begin_of_image());
        for (int32_t code : images.codes(part.value)) ids.push_back(Vocabulary::kFirstImage + code);
        ids.push_back(vocabulary.end_of_image());
      } else {
        for (int32_t piece : text.encode(part.value)) ids.push_back(vocabulary.first_text() + piece);
      }
    }
  });
  return encoded;
}

}  // namespace tessera
