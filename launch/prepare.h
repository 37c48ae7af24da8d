#pragma once
// `tessera prepare`: a manifest of documents becomes a dataset (data/shard.h).

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>

#include "data/image_tokenizer.h"
#include "data/shard.h"
#include "runtime/fields.h"

namespace tessera {

struct PrepareConfig {
  std::string manifest;
  std::string out;
  std::string tokenizers;
  std::string image_tokenizer;
  int64_t length = 512;
  int64_t vocabulary = 4096;
  double image_share = 0.5;
  PatchCodebookConfig images;
  int64_t sample_images = 8192;
  int64_t sample_text_bytes = 3'000'000;
  std::map<std::string, int64_t> max_text_bytes;
  std::map<std::string, std::string> sources;
  double validation_share = 0.02;
  int64_t shard_bytes = int64_t{256} << 20;
  uint64_t seed = 1;
  int threads = 0;

  auto fields() {
    return std::tuple{
        Field{"manifest", manifest, "path of the JSON-lines manifest (data/manifest.h)"},
        Field{"out", out, "folder of the dataset; replaced as a whole when everything has succeeded"},
        Field{"tokenizers", tokenizers,
              "folder of an earlier dataset whose tokenizers are used; empty: learn new ones"},
        Field{"image_tokenizer", image_tokenizer,
              "run folder or checkpoint of train-image-tokenizer; empty: that of tokenizers, else a k-means "
              "codebook"},
        Field{"length", length, "tokens of a unit", 8, 1 << 20},
        Field{"vocabulary", vocabulary,
              "ids in all: 6 special, the image codes, and as many text pieces as are left", 330, 1 << 24},
        Field{"image_share", image_share, "part of a mixed unit that is image codes; rounded to whole images",
              0, 1},
        Field{"images", images, "pictures and their k-means codebook"},
        Field{"sample_images", sample_images, "pictures that the codebook learns from, at most", 1, 1 << 24},
        Field{"sample_text_bytes", sample_text_bytes,
              "bytes of text that the text tokenizer learns from, about", 1000, 1 << 30},
        Field{"max_text_bytes", max_text_bytes,
              "by source: bytes of its text that are used, about; not named: all", 0},
        Field{
            "sources", sources,
            "by source of the manifest: source of the dataset whose units its documents fill, which training "
            "can weigh (loader.source_weights); not named: \"all\""},
        Field{"validation_share", validation_share, "of the groups, for documents that name no split", 0, 1},
        Field{"shard_bytes", shard_bytes, "bytes of tokens in one shard, at most", 1 << 16, 0x1p40},
        Field{"seed", seed, "of the order of documents, of what comes first, and of the codebook"},
        Field{"threads", threads, "0: one per processor; the result does not depend on it", 0, 1024}};
  }
};

/// Called with one sentence at a time.
using Announce = std::function<void(const std::string& sentence)>;

/// Makes the dataset, or finds that config.out was made from the same bytes with the same settings and leaves it.
/// The result is a function of the config (without out and threads), the manifest and the images, bit for bit.
/// Throws Error when anything fails; a dataset that was at config.out is then as it was.
DatasetIndex prepare(const PrepareConfig& config, const Announce& progress);

}  // namespace tessera
