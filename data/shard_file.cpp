#include "data/shard_file.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>

#include "data/fingerprint.h"

namespace tessera {
namespace {

constexpr const char* kShardSchema = "tessera.shard";
constexpr int64_t kShardVersion = 2;
constexpr const char* kTableHash = "xxh3";
constexpr int64_t kAny = -1;  ///< in an expected shape

template <class T>
uint64_t hash_of_values(std::span<const T> values) {
  return hash_of(std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
}

std::string hex(uint64_t hash) {
  char digits[20];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape)
    text += (text.empty() ? "" : ", ") + (size == kAny ? "n" : std::to_string(size));
  return "[" + text + "]";
}

/// An array of the shape and element that it must have.
hdf5::Dataset array_of(const hdf5::File& file, const std::string& name, const std::vector<int64_t>& shape,
                       hdf5::Element element) {
  hdf5::Dataset array = file.dataset(name);
  TESSERA_CHECK(array.element() == element, "dataset: ", file.path(), ": ", name, " holds ",
                hdf5::name_of(array.element()), ", expected ", hdf5::name_of(element));
  TESSERA_CHECK(std::ranges::equal(
                    array.shape(), shape,
                    [](int64_t found, int64_t expected) { return found == expected || expected == kAny; }),
                "dataset: ", file.path(), ": ", name, " is ", text_of(array.shape()), ", expected ",
                text_of(shape));
  return array;
}

template <class T>
void write_table(hdf5::File& file, const std::string& name, const std::vector<int64_t>& shape,
                 const std::vector<T>& values) {
  file.write(name, shape, std::span<const T>(values));
  file.set_attribute(name, kTableHash, hex(hash_of_values(std::span<const T>(values))));
}

template <class T>
std::vector<T> read_table(const hdf5::File& file, const std::string& name,
                          const std::vector<int64_t>& shape) {
  const hdf5::Dataset array = array_of(file, name, shape, hdf5::element_of<T>);
  std::vector<T> values(static_cast<size_t>(array.count()));
  array.read(0, std::span(values));
  const auto said = file.attribute<std::string>(name, kTableHash),
             found = hex(hash_of_values(std::span<const T>(values)));
  TESSERA_CHECK(found == said, "dataset: ", file.path(), ": ", name, " is damaged: its checksum is ", found,
                ", written was ", said);
  return values;
}

/// The same attributes in the same order for writer and reader.
template <class Visit>
void for_each_attribute(const ShardAttributes& attributes, const Visit& visit) {
  visit("schema", std::string(kShardSchema));
  visit("version", kShardVersion);
  visit("fingerprint", attributes.fingerprint);
  visit("split", attributes.split);
  visit("kind", std::string(name_of(attributes.kind)));
  visit("source", attributes.source);
  visit("length", attributes.length);
  visit("codes_per_image", attributes.codes_per_image);
  visit("images_per_unit", attributes.images_per_unit);
  visit("image_codes", attributes.vocabulary.image_codes);
  visit("text_pieces", attributes.vocabulary.text_pieces);
}

/// Throws Error naming the first attribute that differs.
void check_attributes(const hdf5::File& file, const ShardAttributes& attributes) {
  for_each_attribute(attributes, [&](const char* name, const auto& expected) {
    const auto found = file.attribute<std::remove_cvref_t<decltype(expected)>>("/", name);
    TESSERA_CHECK(found == expected, "dataset: ", file.path(), ": ", name, " is ", found,
                  ", index.json says ", expected);
  });
}

PerModality count_targets(const Unit& unit, const Vocabulary& vocabulary) {
  std::vector<int32_t> targets(unit.tokens.size());
  targets_of(unit.tokens, unit.documents, targets);
  PerModality counts{};
  for (int32_t target : targets)
    if (target >= 0) ++counts[static_cast<size_t>(vocabulary.modality_of(target))];
  return counts;
}

/// The tokens of a shard in the type that they are stored in.
template <class Id>
void write_tokens(hdf5::File& file, std::span<const Unit> units, int64_t length) {
  std::vector<Id> ids;
  std::vector<int64_t> checksums;
  for (const Unit& unit : units) {
    ids.insert(ids.end(), unit.tokens.begin(), unit.tokens.end());
    checksums.push_back(
        static_cast<int64_t>(hash_of_values(std::span<const Id>(ids).last(unit.tokens.size()))));
  }
  file.write("/tokens", {std::ssize(units), length}, std::span<const Id>(ids));
  write_table(file, "/checksums", {std::ssize(units)}, checksums);
}

/// Opens a shard; what a truncated one lacks is added to the library's message.
hdf5::File open_shard(const std::string& path, const ShardEntry& entry, const ShardAttributes& attributes) {
  try {
    return hdf5::File::open(path);
  } catch (const Error& error) {
    std::error_code missing;
    const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path, missing));
    if (missing || bytes >= entry.bytes) throw;
    const int64_t unit_bytes = attributes.length * bytes_per_token(attributes.vocabulary);
    const int64_t whole = std::max<int64_t>(0, bytes - entry.tokens_at) / unit_bytes;
    throw Error(str(error.what(), " (", bytes, " of ", entry.bytes, " bytes; ",
                    whole < entry.units ? str("/tokens ends before unit ", whole, " of ", entry.units)
                                        : str("/tokens is whole, what follows it is not"),
                    ")"));
  }
}

}  // namespace

int64_t bytes_per_token(const Vocabulary& vocabulary) { return vocabulary.size() <= 65536 ? 2 : 4; }

PerModality count_tokens(const Unit& unit, const Vocabulary& vocabulary) {
  PerModality counts{};
  for (int32_t id : unit.tokens)
    if (id != Vocabulary::kPad) ++counts[static_cast<size_t>(vocabulary.modality_of(id))];
  return counts;
}

int64_t count_images(const Unit& unit, const Vocabulary& vocabulary) {
  return std::count(unit.tokens.begin(), unit.tokens.end(), vocabulary.end_of_image());
}

int64_t write_shard_file(const std::string& path, const ShardAttributes& attributes,
                         std::span<const Unit> units) {
  const Vocabulary& vocabulary = attributes.vocabulary;
  std::vector<uint8_t> modality;
  std::vector<int32_t> documents, images, token_counts, targets;
  std::vector<int64_t> unit_documents{0};
  for (const Unit& unit : units) {
    for (int32_t id : unit.tokens) modality.push_back(static_cast<uint8_t>(vocabulary.modality_of(id)));
    documents.insert(documents.end(), unit.documents.begin(), unit.documents.end());
    unit_documents.push_back(std::ssize(documents));
    images.push_back(static_cast<int32_t>(count_images(unit, vocabulary)));
    for (int64_t count : count_tokens(unit, vocabulary)) token_counts.push_back(static_cast<int32_t>(count));
    for (int64_t count : count_targets(unit, vocabulary)) targets.push_back(static_cast<int32_t>(count));
  }
  const int64_t count = std::ssize(units);
  hdf5::File file = hdf5::File::create(path);
  if (bytes_per_token(vocabulary) == sizeof(uint16_t))
    write_tokens<uint16_t>(file, units, attributes.length);
  else
    write_tokens<int32_t>(file, units, attributes.length);
  file.write("/modality", {count, attributes.length}, std::span<const uint8_t>(modality));
  write_table(file, "/documents", {std::ssize(documents)}, documents);
  write_table(file, "/unit_documents", {count + 1}, unit_documents);
  write_table(file, "/images", {count}, images);
  write_table(file, "/token_counts", {count, kModalities}, token_counts);
  write_table(file, "/targets", {count, kModalities}, targets);
  for_each_attribute(attributes,
                     [&](const char* name, const auto& value) { file.set_attribute("/", name, value); });
  const int64_t tokens_at = file.dataset("/tokens").row_places().value().of(0);
  file.close();
  return tokens_at;
}

ShardFile::ShardFile(const std::string& folder, const ShardEntry& entry, const ShardAttributes& attributes)
    : file_(open_shard(folder + "/" + entry.file, entry, attributes)),
      tokens_((check_attributes(file_, attributes),
               array_of(file_, "/tokens", {entry.units, attributes.length},
                        bytes_per_token(attributes.vocabulary) == sizeof(uint16_t) ? hdf5::Element::u16
                                                                                   : hdf5::Element::i32))),
      vocabulary_(attributes.vocabulary),
      units_(entry.units),
      length_(attributes.length),
      checksums_(read_table<int64_t>(file_, "/checksums", {units_})),
      unit_documents_(read_table<int64_t>(file_, "/unit_documents", {units_ + 1})),
      documents_(read_table<int32_t>(file_, "/documents", {kAny})),
      token_counts_(read_table<int32_t>(file_, "/token_counts", {units_, kModalities})),
      targets_(read_table<int32_t>(file_, "/targets", {units_, kModalities})),
      mapped_(path()),
      places_(tokens_.row_places()) {
  array_of(file_, "/modality", {units_, length_}, hdf5::Element::u8);
  check_documents();
  check_counts(attributes);
  if (!places_) return;
  const int64_t id_bytes = places_->row_bytes / length_, bytes = std::ssize(mapped_.bytes());
  bool aligned = true;
  for (int64_t unit = 0; unit < units_; unit += places_->rows_per_chunk) {
    const int64_t begin = places_->of(unit);
    const int64_t end =
        places_->of(std::min(unit + places_->rows_per_chunk, units_) - 1) + places_->row_bytes;
    TESSERA_CHECK(0 <= begin && end <= bytes, "dataset: ", path(), ": /tokens[", unit, "] lies at bytes ",
                  begin, " to ", end, " of ", bytes);
    aligned &= begin % id_bytes == 0;
  }
  if (!aligned) places_.reset();
}

void ShardFile::check_documents() const {
  const auto refuse = [&](const char* array, int64_t entry, int64_t value, const std::string& expected) {
    throw Error(str("dataset: ", path(), ": ", array, "[", entry, "] is ", value, ", expected ", expected));
  };
  for (int64_t unit = 0; unit <= units_; ++unit) {
    const int64_t at = unit_documents_[static_cast<size_t>(unit)];
    if (unit == 0 && at != 0) refuse("/unit_documents", unit, at, "0");
    if (unit > 0 && at <= unit_documents_[static_cast<size_t>(unit - 1)])
      refuse("/unit_documents", unit, at, "more than the entry before");
    if (unit == units_ ? at != std::ssize(documents_) : at >= std::ssize(documents_))
      refuse("/unit_documents", unit, at,
             str(unit == units_ ? "" : "less than ", documents_.size(), ", the documents there are"));
  }
  for (int64_t unit = 0; unit < units_; ++unit) {
    const int64_t first = unit_documents_[static_cast<size_t>(unit)];
    int32_t before = -1;
    for (int64_t i = 0; i < std::ssize(documents(unit)); ++i) {
      const int32_t row = documents(unit)[static_cast<size_t>(i)];
      if (i == 0 ? row != 0 : row <= before || row >= length_)
        refuse("/documents", first + i, row,
               i == 0 ? str("0, where unit ", unit, " starts")
                      : str("a row of unit ", unit, " after ", before, " and before ", length_));
      before = row;
    }
  }
}

void ShardFile::check_counts(const ShardAttributes& attributes) const {
  for (int64_t unit = 0; unit < units_; ++unit) {
    const auto i = static_cast<size_t>(unit) * kModalities;
    const int64_t text = token_counts_[i], image = token_counts_[i + 1];
    TESSERA_CHECK(text >= 0 && image == attributes.image_tokens() && text + image <= length_,
                  "dataset: ", path(), ": /token_counts[", unit, "] says ", text, " text and ", image,
                  " image tokens: a ", name_of(attributes.kind), " unit of ", length_, " tokens has ",
                  attributes.image_tokens(), " of images");
    TESSERA_CHECK(0 <= targets_[i] && targets_[i] <= text && 0 <= targets_[i + 1] && targets_[i + 1] <= image,
                  "dataset: ", path(), ": /targets[", unit, "] says ", targets_[i], " text and ",
                  targets_[i + 1], " image targets among ", text, " text and ", image, " image tokens");
  }
}

std::span<const int32_t> ShardFile::documents(int64_t unit) const {
  const auto u = static_cast<size_t>(unit);
  const auto begin = static_cast<size_t>(unit_documents_[u]),
             end = static_cast<size_t>(unit_documents_[u + 1]);
  return std::span(documents_).subspan(begin, end - begin);
}

void ShardFile::read(int64_t unit, std::span<int32_t> tokens) const {
  if (tokens_.element() == hdf5::Element::u16)
    read_as<uint16_t>(unit, tokens);
  else
    read_as<int32_t>(unit, tokens);
}

template <class Id>
void ShardFile::read_as(int64_t unit, std::span<int32_t> tokens) const {
  std::vector<Id> unpacked;
  std::span<const Id> ids;
  if (places_) {
    const std::byte* begin = mapped_.bytes().data() + places_->of(unit);
    ids = {reinterpret_cast<const Id*>(begin), tokens.size()};
  } else {
    unpacked.resize(tokens.size());
    try {
      tokens_.read(unit * length_, std::span(unpacked));
    } catch (const Error& error) {
      throw Error(str("dataset: ", path(), ": /tokens[", unit, "] cannot be read: ", error.what()));
    }
    ids = unpacked;
  }
  const uint64_t hash = hash_of_values(ids);
  TESSERA_CHECK(hash == static_cast<uint64_t>(checksums_[static_cast<size_t>(unit)]), "dataset: ", path(),
                ": /tokens[", unit, "] is damaged: its checksum is ", hex(hash), ", written was ",
                hex(static_cast<uint64_t>(checksums_[static_cast<size_t>(unit)])));
  // As unsigned numbers negative ids are too large as well; one pass without branches, which runs in vectors.
  uint32_t largest = 0;
  for (size_t row = 0; row < ids.size(); ++row) {
    tokens[row] = static_cast<int32_t>(ids[row]);
    largest = std::max(largest, static_cast<uint32_t>(ids[row]));
  }
  if (largest < static_cast<uint64_t>(vocabulary_.size())) return;
  const auto foreign = std::ranges::find_if(tokens, [&](int32_t id) {
    return static_cast<uint32_t>(id) >= static_cast<uint64_t>(vocabulary_.size());
  });
  throw Error(str("dataset: ", path(), ": /tokens[", unit, ", ", foreign - tokens.begin(), "] is ", *foreign,
                  ", which is not among ", vocabulary_));
}

}  // namespace tessera
