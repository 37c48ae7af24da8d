#pragma once
// The dataset on disk, a folder:
//
//   index.json             what is in it: vocabulary, sizes, shards, counts, fingerprint
//   text.model             the text tokenizer (SentencePiece)
//   image_codebook.h5      the image tokenizer: a k-means codebook, or
//   image_tokenizer/       a learned one: a checkpoint, step_NNNNNNNN
//   SPLIT-KIND-NNNNN.h5    shards: units of one split (train, validation), one kind (mixed, text) and one source
//
// A shard, as it is written every array in one contiguous piece:
//   /tokens          [units, length]       u16 when the vocabulary has at most 65536 ids, else i32
//   /modality        [units, length] u8    Modality of each token
// and tables, each with an attribute xxh3: XXH3 (64 bits) of its bytes as 16 hexadecimal digits
//   /checksums       [units] i64           XXH3 (64 bits) of the bytes of each unit's tokens
//   /documents       [n] i32               row inside its unit where each document (or piece of one) starts, unit
//                                          after unit
//   /unit_documents  [units + 1] i64       unit u holds documents [unit_documents[u], unit_documents[u + 1])
//   /images          [units] i32           images in the unit
//   /token_counts    [units, 2] i32        tokens of the unit by modality, without padding
//   /targets         [units, 2] i32        scored targets of the unit by modality
// with attributes schema, version, fingerprint, split, kind, source, length, codes_per_image, images_per_unit,
// image_codes, text_pieces. Padding at the end of a unit is a document of <pad> alone.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "data/sampler.h"
#include "data/vocabulary.h"
#include "runtime/fields.h"

namespace tessera {

/// What prepare counted in one split.
struct SplitCounts {
  int64_t documents = 0;
  int64_t mixed_units = 0;
  int64_t text_units = 0;
  int64_t text_tokens = 0;  ///< without padding
  int64_t image_tokens = 0;
  int64_t pad_tokens = 0;
  int64_t images = 0;
  int64_t images_dropped = 0;       ///< left over when the last mixed unit could not be filled
  int64_t text_tokens_dropped = 0;  ///< left over when the last text unit could not be filled

  auto fields() {
    return std::tuple{Field{"documents", documents},
                      Field{"mixed_units", mixed_units},
                      Field{"text_units", text_units},
                      Field{"text_tokens", text_tokens},
                      Field{"image_tokens", image_tokens},
                      Field{"pad_tokens", pad_tokens},
                      Field{"images", images},
                      Field{"images_dropped", images_dropped},
                      Field{"text_tokens_dropped", text_tokens_dropped}};
  }
};

struct ShardEntry {
  std::string file = {}, split = {}, kind = {}, source = {};
  int64_t units = 0;
  int64_t bytes = 0;      ///< of the file
  int64_t tokens_at = 0;  ///< the byte at which /tokens begins: tells what a truncated file lacks

  auto fields() {
    return std::tuple{Field{"file", file},          Field{"split", split},        Field{"kind", kind},
                      Field{"source", source},      Field{"units", units, "", 0}, Field{"bytes", bytes},
                      Field{"tokens_at", tokens_at}};
  }
};

/// index.json
struct DatasetIndex {
  static constexpr const char* kSchema = "tessera.dataset";
  static constexpr int64_t kVersion = 2;

  std::string schema = kSchema;
  int64_t version = kVersion;
  std::string fingerprint;  ///< hash of everything the dataset was made from
  Vocabulary vocabulary;
  int64_t length = 0;                         ///< tokens of a unit
  int64_t codes_per_image = 0;                ///< 0: no images
  int64_t images_per_unit = 0;                ///< of every mixed unit
  std::map<std::string, SplitCounts> counts;  ///< by split
  std::vector<ShardEntry> shards;

  auto fields() {
    return std::tuple{Field{"schema", schema},
                      Field{"version", version},
                      Field{"fingerprint", fingerprint},
                      Field{"vocabulary", vocabulary},
                      Field{"length", length},
                      Field{"codes_per_image", codes_per_image},
                      Field{"images_per_unit", images_per_unit},
                      Field{"counts", counts},
                      Field{"shards", shards}};
  }
};

/// Throws Error when the folder has no index.json, or one that is not ours or of another version.
DatasetIndex read_index(const std::string& folder);

/// A packed unit.
struct Unit {
  std::vector<int32_t> tokens;  ///< length of them
  std::vector<int32_t>
      documents;  ///< rows where documents start; the first is 0; padding is a document of its own
};

/// Next token of the same document, or -1.  documents as in Unit; targets has the size of tokens.
void targets_of(std::span<const int32_t> tokens, std::span<const int32_t> documents,
                std::span<int32_t> targets);

/// Writes the shards and index.json of a dataset into a folder that exists.
class DatasetWriter {
 public:
  /// index: everything but shards and the unit counts.  shard_bytes bounds the tokens of one file.
  DatasetWriter(std::string folder, DatasetIndex index, int64_t shard_bytes);

  /// Throws Error when a unit is not of the index's length, or not of its kind's number of image codes, or holds an id
  /// that is not in the vocabulary.
  void write(const std::string& split, const std::string& source, UnitKind kind, std::span<const Unit> units);
  /// Writes index.json, which is what makes the folder a dataset.
  void finish();

  SplitCounts& counts(const std::string& split) { return index_.counts[split]; }
  const DatasetIndex& index() const { return index_; }

 private:
  void write_shard(const std::string& split, const std::string& source, UnitKind kind,
                   std::span<const Unit> units);

  std::string folder_;
  DatasetIndex index_;
  int64_t shard_bytes_;
};

/// Units [first, first + units) of one kind come from one source.
struct SourceUnits {
  std::string source;
  int64_t first = 0;
  int64_t units = 0;
};

class ShardFile;

/// One split of a dataset, open for reading by any number of threads.
class TokenDataset {
 public:
  /// Checks every shard against index.json and its tables against each other.  Throws Error naming the file, the array and
  /// the entry that is wrong.
  TokenDataset(const std::string& folder, const std::string& split);

  const std::string& folder() const { return folder_; }
  const DatasetIndex& index() const { return index_; }
  const Vocabulary& vocabulary() const { return index_.vocabulary; }
  int64_t length() const { return index_.length; }
  int64_t units(UnitKind kind) const { return std::ssize(targets_[static_cast<size_t>(kind)]); }
  /// The units of a kind, source after source; sources without units of the kind are left out.
  const std::vector<SourceUnits>& sources(UnitKind kind) const { return sources_[static_cast<size_t>(kind)]; }

  /// Tokens of a unit by modality, without padding: a table in memory.
  const PerModality& token_counts(UnitRef ref) const;
  /// Scored targets of a unit by modality: a table in memory.
  const PerModality& target_counts(UnitRef ref) const;
  /// Rows where the documents of a unit start, as in Unit: a table in memory.
  std::span<const int32_t> documents(UnitRef ref) const;

  /// Asks the system to read the tokens of units from the disk in the background, all at once.
  void will_need(std::span<const UnitRef> units) const;
  /// tokens: length of them.  Throws Error naming file and unit when the unit is damaged or holds an id that is not in the
  /// vocabulary.
  void read_tokens(UnitRef ref, std::span<int32_t> tokens) const;
  /// The same, and the documents.
  Unit read(UnitRef ref) const;

 private:
  void require_unit(UnitRef ref) const;
  /// The shard that holds a unit, and the number of the unit there.
  std::pair<const ShardFile&, int64_t> place_of(UnitRef ref) const;

  std::string folder_;
  DatasetIndex index_;
  std::array<std::vector<std::shared_ptr<const ShardFile>>, kUnitKinds> shards_;
  std::array<std::vector<int64_t>, kUnitKinds> first_units_;  ///< of the shards
  std::array<std::vector<SourceUnits>, kUnitKinds> sources_;
  std::array<std::vector<PerModality>, kUnitKinds> tokens_, targets_;
};

/// Throws Error when a dataset's vocabulary is not the model's.
void require_vocabulary(const DatasetIndex& index, const std::string& folder, const Vocabulary& model);

}  // namespace tessera
