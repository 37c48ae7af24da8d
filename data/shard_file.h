#pragma once
// One shard of a dataset as a file (data/shard.h has its layout).

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/shard.h"
#include "runtime/hdf5.h"
#include "runtime/mapped_file.h"

namespace tessera {

/// What a shard says of itself, in attributes of the file.
struct ShardAttributes {
  std::string split = {}, source = {}, fingerprint = {};
  UnitKind kind = UnitKind::mixed;
  int64_t length = 0, codes_per_image = 0, images_per_unit = 0;
  Vocabulary vocabulary = {};

  /// Codes in every unit.
  int64_t image_tokens() const { return kind == UnitKind::mixed ? images_per_unit * codes_per_image : 0; }
};

/// As /tokens stores them.
int64_t bytes_per_token(const Vocabulary& vocabulary);

/// Tokens of a unit by modality, without padding.
PerModality count_tokens(const Unit& unit, const Vocabulary& vocabulary);
int64_t count_images(const Unit& unit, const Vocabulary& vocabulary);

/// Writes units, which are taken to be right, and returns where in the file /tokens begins.
int64_t write_shard_file(const std::string& path, const ShardAttributes& attributes,
                         std::span<const Unit> units);

/// A shard open for reading by any number of threads: its tables are in memory, its tokens are mapped.  Tokens that the
/// library must unpack (filtered, or in chunks that cut units) are read through it, under its lock.
class ShardFile {
 public:
  /// Throws Error naming file, array and entry when anything but the tokens themselves is not as it must be.
  ShardFile(const std::string& folder, const ShardEntry& entry, const ShardAttributes& attributes);

  const std::string& path() const { return file_.path(); }
  /// [units, 2], in memory.
  std::span<const int32_t> token_counts() const { return token_counts_; }
  std::span<const int32_t> targets() const { return targets_; }
  /// Rows where the documents of a unit start.
  std::span<const int32_t> documents(int64_t unit) const;
  /// Asks the system to read the tokens of a unit from the disk in the background.
  void will_need(int64_t unit) const {
    if (places_) mapped_.will_need(places_->of(unit), places_->row_bytes);
  }
  /// tokens: length of them.  Throws Error naming file and unit when their checksum is wrong or an id is not in the
  /// vocabulary.
  void read(int64_t unit, std::span<int32_t> tokens) const;

 private:
  void check_documents() const;
  void check_counts(const ShardAttributes& attributes) const;
  template <class Id>
  void read_as(int64_t unit, std::span<int32_t> tokens) const;

  hdf5::File file_;
  hdf5::Dataset tokens_;
  Vocabulary vocabulary_;
  int64_t units_, length_;
  std::vector<int64_t> checksums_, unit_documents_;
  std::vector<int32_t> documents_, token_counts_, targets_;
  MappedFile mapped_;
  std::optional<hdf5::RowPlaces> places_;  ///< of the units in mapped_
};

}  // namespace tessera
