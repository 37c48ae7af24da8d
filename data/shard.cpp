#include "data/shard.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "runtime/json.h"

namespace tessera {
namespace {

constexpr const char* kShardSchema = "tessera.shard";
constexpr int64_t kShardVersion = 2;

bool fits_u16(const Vocabulary& vocabulary) { return vocabulary.size() <= 65536; }

UnitKind kind_named(const std::string& name, const std::string& where) {
  for (UnitKind kind : {UnitKind::mixed, UnitKind::text})
    if (name == name_of(kind)) return kind;
  throw Error(str("dataset: ", where, ": kind must be mixed or text, got \"", name, "\""));
}

PerModality count_targets(const Unit& unit, const Vocabulary& vocabulary) {
  std::vector<int32_t> targets(unit.tokens.size());
  targets_of(unit, targets);
  PerModality counts{};
  for (int32_t target : targets)
    if (target >= 0) ++counts[static_cast<size_t>(vocabulary.modality_of(target))];
  return counts;
}

/// Tokens of one unit by modality, without padding.
PerModality count_tokens(const Unit& unit, const Vocabulary& vocabulary) {
  PerModality counts{};
  for (int32_t id : unit.tokens)
    if (id != Vocabulary::kPad) ++counts[static_cast<size_t>(vocabulary.modality_of(id))];
  return counts;
}

/// Documents start at row 0, then at increasing rows inside the unit.
bool is_document_list(std::span<const int32_t> documents, int64_t length) {
  if (documents.empty() || documents.front() != 0 || documents.back() >= length) return false;
  return std::adjacent_find(documents.begin(), documents.end(), std::greater_equal<>()) == documents.end();
}

int64_t count_images(const Unit& unit, const Vocabulary& vocabulary) {
  return std::count(unit.tokens.begin(), unit.tokens.end(), vocabulary.end_of_image());
}

}  // namespace

DatasetIndex read_index(const std::string& folder) {
  const std::string path = folder + "/index.json";
  TESSERA_CHECK(std::filesystem::is_regular_file(path), "dataset: ", folder,
                " has no index.json: it is not a dataset made by `tessera prepare`");
  const Json json = read_json(path);
  // The schema comes first: the keys of another version would only give a confusing message.
  const auto is = [&](const char* key, const Json& value) {
    return json.is_object() && json.contains(key) && json[key] == value;
  };
  TESSERA_CHECK(is("schema", DatasetIndex::kSchema) && is("version", DatasetIndex::kVersion),
                "dataset: ", path, " is not a ", DatasetIndex::kSchema, " of version ",
                DatasetIndex::kVersion, ": prepare it again");
  DatasetIndex index;
  from_json(json, path, index);
  TESSERA_CHECK(index.length >= 1, "dataset: ", path, ": length must be at least 1, got ", index.length);
  return index;
}

void targets_of(const Unit& unit, std::span<int32_t> targets) {
  const size_t length = unit.tokens.size();
  std::fill(targets.begin(), targets.end(), -1);
  for (size_t d = 0; d < unit.documents.size(); ++d) {
    const auto begin = static_cast<size_t>(unit.documents[d]);
    const size_t end = d + 1 < unit.documents.size() ? static_cast<size_t>(unit.documents[d + 1]) : length;
    if (unit.tokens[begin] == Vocabulary::kPad) continue;
    std::copy(unit.tokens.begin() + static_cast<int64_t>(begin) + 1,
              unit.tokens.begin() + static_cast<int64_t>(end), targets.begin() + static_cast<int64_t>(begin));
  }
}

DatasetWriter::DatasetWriter(std::string folder, DatasetIndex index, int64_t shard_bytes)
    : folder_(std::move(folder)), index_(std::move(index)), shard_bytes_(shard_bytes) {
  TESSERA_CHECK(index_.length >= 2, "dataset: a unit has at least 2 tokens, got ", index_.length);
}

void DatasetWriter::write(const std::string& split, UnitKind kind, std::span<const Unit> units) {
  const int64_t unit_bytes = index_.length * (fits_u16(index_.vocabulary) ? 2 : 4);
  const auto per_shard = static_cast<size_t>(std::max<int64_t>(1, shard_bytes_ / unit_bytes));
  for (size_t begin = 0; begin < units.size(); begin += per_shard)
    write_shard(split, kind, units.subspan(begin, std::min(per_shard, units.size() - begin)));
}

namespace {

/// The arrays of one shard, as they go to the file.
struct ShardArrays {
  std::vector<int32_t> tokens, documents, images, token_counts, targets;
  std::vector<uint8_t> modality;
  std::vector<int64_t> unit_documents{0};

  void append(const Unit& unit, const Vocabulary& vocabulary) {
    tokens.insert(tokens.end(), unit.tokens.begin(), unit.tokens.end());
    for (int32_t id : unit.tokens) modality.push_back(static_cast<uint8_t>(vocabulary.modality_of(id)));
    documents.insert(documents.end(), unit.documents.begin(), unit.documents.end());
    unit_documents.push_back(std::ssize(documents));
    images.push_back(static_cast<int32_t>(count_images(unit, vocabulary)));
    for (int64_t count : count_tokens(unit, vocabulary)) token_counts.push_back(static_cast<int32_t>(count));
    for (int64_t count : count_targets(unit, vocabulary)) targets.push_back(static_cast<int32_t>(count));
  }

  void write(hdf5::File& file, int64_t length, const Vocabulary& vocabulary) const {
    const int64_t units = std::ssize(images);
    if (fits_u16(vocabulary)) {
      const std::vector<uint16_t> narrow(tokens.begin(), tokens.end());
      file.write("/tokens", {units, length}, std::span<const uint16_t>(narrow));
    } else {
      file.write("/tokens", {units, length}, std::span<const int32_t>(tokens));
    }
    file.write("/modality", {units, length}, std::span<const uint8_t>(modality));
    file.write("/documents", documents);
    file.write("/unit_documents", unit_documents);
    file.write("/images", images);
    file.write("/token_counts", {units, kModalities}, std::span<const int32_t>(token_counts));
    file.write("/targets", {units, kModalities}, std::span<const int32_t>(targets));
  }
};

void check_unit(const Unit& unit, int64_t images, const DatasetIndex& index) {
  TESSERA_CHECK(std::ssize(unit.tokens) == index.length, "dataset: units have ", index.length,
                " tokens, got ", unit.tokens.size());
  TESSERA_CHECK(is_document_list(unit.documents, index.length),
                "dataset: document offsets of a unit must rise from 0");
  for (int32_t id : unit.tokens)
    TESSERA_CHECK(0 <= id && id < index.vocabulary.size(), "dataset: id ", id, " is not among ",
                  index.vocabulary);
  const int64_t found = count_images(unit, index.vocabulary);
  TESSERA_CHECK(found == images, "dataset: a unit of this kind has ", images, " images, got ", found);
}

void count_unit(const Unit& unit, const Vocabulary& vocabulary, SplitCounts& counts) {
  const auto [text, image] = count_tokens(unit, vocabulary);
  counts.text_tokens += text;
  counts.image_tokens += image;
  counts.pad_tokens += std::ssize(unit.tokens) - text - image;
  counts.images += count_images(unit, vocabulary);
}

struct Attributes {
  std::string split, kind, fingerprint;
  int64_t length, codes_per_image;
  Vocabulary vocabulary;
};

void write_attributes(hdf5::File& file, const Attributes& attributes) {
  file.set_attribute("/", "schema", std::string(kShardSchema));
  file.set_attribute("/", "version", kShardVersion);
  file.set_attribute("/", "fingerprint", attributes.fingerprint);
  file.set_attribute("/", "split", attributes.split);
  file.set_attribute("/", "kind", attributes.kind);
  file.set_attribute("/", "length", attributes.length);
  file.set_attribute("/", "codes_per_image", attributes.codes_per_image);
  file.set_attribute("/", "image_codes", attributes.vocabulary.image_codes);
  file.set_attribute("/", "text_pieces", attributes.vocabulary.text_pieces);
}

/// Throws Error naming the first attribute that differs.
void check_attributes(const hdf5::File& file, const Attributes& attributes) {
  const auto expect = [&](const char* name, const auto& expected) {
    const auto found = file.attribute<std::remove_cvref_t<decltype(expected)>>("/", name);
    TESSERA_CHECK(found == expected, "dataset: ", file.path(), ": ", name, " is ", found,
                  ", index.json says ", expected);
  };
  expect("schema", std::string(kShardSchema));
  expect("version", kShardVersion);
  expect("fingerprint", attributes.fingerprint);
  expect("split", attributes.split);
  expect("kind", attributes.kind);
  expect("length", attributes.length);
  expect("codes_per_image", attributes.codes_per_image);
  expect("image_codes", attributes.vocabulary.image_codes);
  expect("text_pieces", attributes.vocabulary.text_pieces);
}

Attributes attributes_of(const DatasetIndex& index, const ShardEntry& entry) {
  return {entry.split, entry.kind, index.fingerprint, index.length, index.codes_per_image, index.vocabulary};
}

}  // namespace

void DatasetWriter::write_shard(const std::string& split, UnitKind kind, std::span<const Unit> units) {
  ShardArrays arrays;
  SplitCounts& counts = index_.counts[split];
  for (const Unit& unit : units) {
    check_unit(unit, kind == UnitKind::mixed ? index_.images_per_unit : 0, index_);
    arrays.append(unit, index_.vocabulary);
    count_unit(unit, index_.vocabulary, counts);
  }
  (kind == UnitKind::mixed ? counts.mixed_units : counts.text_units) += std::ssize(units);

  const auto number = std::count_if(index_.shards.begin(), index_.shards.end(), [&](const ShardEntry& shard) {
    return shard.split == split && shard.kind == name_of(kind);
  });
  char digits[24];
  std::snprintf(digits, sizeof digits, "%05lld", static_cast<long long>(number));
  const ShardEntry entry{str(split, "-", name_of(kind), "-", digits, ".h5"), split, name_of(kind),
                         std::ssize(units)};
  hdf5::File file = hdf5::File::create(folder_ + "/" + entry.file);
  arrays.write(file, index_.length, index_.vocabulary);
  write_attributes(file, attributes_of(index_, entry));
  file.close();
  index_.shards.push_back(entry);
}

void DatasetWriter::finish() { write_json(folder_ + "/index.json", to_json(index_)); }

/// An open file: its tokens stay on the disk, its tables are in memory.
struct TokenDataset::Shard {
  hdf5::File file;
  hdf5::Dataset tokens;
  std::vector<int32_t> documents;
  std::vector<int64_t> unit_documents;
  std::vector<int32_t> token_counts;
  std::vector<int32_t> targets;
  int64_t first_unit = 0;
  int64_t units = 0;

  Shard(const std::string& path, const Attributes& attributes, int64_t first, int64_t count)
      : file(hdf5::File::open(path)),
        tokens((check_attributes(file, attributes), file.dataset("/tokens"))),
        documents(file.read<int32_t>("/documents")),
        unit_documents(file.read<int64_t>("/unit_documents")),
        token_counts(file.read<int32_t>("/token_counts")),
        targets(file.read<int32_t>("/targets")),
        first_unit(first),
        units(count) {
    const std::vector<int64_t> shape{units, attributes.length};
    const auto expect = [&](bool holds, const char* array) {
      TESSERA_CHECK(holds, "dataset: ", path, ": ", array, " does not fit ", units, " units of ",
                    attributes.length, " tokens");
    };
    expect(tokens.shape() == shape, "/tokens");
    expect(tokens.element() == (fits_u16(attributes.vocabulary) ? hdf5::Element::u16 : hdf5::Element::i32),
           "/tokens");
    expect(file.dataset("/modality").shape() == shape, "/modality");
    expect(std::ssize(token_counts) == units * kModalities, "/token_counts");
    expect(std::ssize(targets) == units * kModalities, "/targets");
    expect(std::ssize(unit_documents) == units + 1 && unit_documents.front() == 0 &&
               unit_documents.back() == std::ssize(documents) &&
               std::is_sorted(unit_documents.begin(), unit_documents.end()),
           "/unit_documents");
    for (int64_t unit = 0; unit < units; ++unit)
      expect(is_document_list(documents_of(unit), attributes.length), "/documents");
  }

  std::span<const int32_t> documents_of(int64_t unit) const {
    const auto u = static_cast<size_t>(unit);
    const auto begin = static_cast<size_t>(unit_documents[u]),
               end = static_cast<size_t>(unit_documents[u + 1]);
    return std::span(documents).subspan(begin, end - begin);
  }

  std::vector<int32_t> read_tokens(int64_t unit, int64_t length) const {
    std::vector<int32_t> ids(static_cast<size_t>(length));
    if (tokens.element() == hdf5::Element::i32) {
      tokens.read(unit * length, std::span(ids));
    } else {
      std::vector<uint16_t> narrow(ids.size());
      tokens.read(unit * length, std::span(narrow));
      std::copy(narrow.begin(), narrow.end(), ids.begin());
    }
    return ids;
  }
};

namespace {

/// From rows of one count per modality.
void append_counts(const std::vector<int32_t>& rows, std::vector<PerModality>& counts) {
  for (size_t i = 0; i < rows.size(); i += kModalities) counts.push_back({rows[i], rows[i + 1]});
}

}  // namespace

TokenDataset::TokenDataset(const std::string& folder, const std::string& split)
    : folder_(folder), index_(read_index(folder)) {
  TESSERA_CHECK(index_.counts.contains(split), "dataset: ", folder, " has no split \"", split, "\"");
  for (const ShardEntry& entry : index_.shards) {
    if (entry.split != split) continue;
    const auto kind = static_cast<size_t>(kind_named(entry.kind, folder + "/index.json"));
    const auto shard = std::make_shared<const Shard>(folder + "/" + entry.file, attributes_of(index_, entry),
                                                     std::ssize(targets_[kind]), entry.units);
    append_counts(shard->token_counts, tokens_[kind]);
    append_counts(shard->targets, targets_[kind]);
    shards_[kind].push_back(shard);
  }
}

void TokenDataset::require_unit(UnitRef ref) const {
  TESSERA_CHECK(0 <= ref.unit && ref.unit < units(ref.kind), "dataset: ", folder_, " has no unit ", ref,
                ": there are ", units(ref.kind));
}

const PerModality& TokenDataset::token_counts(UnitRef ref) const {
  require_unit(ref);
  return tokens_[static_cast<size_t>(ref.kind)][static_cast<size_t>(ref.unit)];
}

const PerModality& TokenDataset::target_counts(UnitRef ref) const {
  require_unit(ref);
  return targets_[static_cast<size_t>(ref.kind)][static_cast<size_t>(ref.unit)];
}

Unit TokenDataset::read(UnitRef ref) const {
  require_unit(ref);
  const auto& shards = shards_[static_cast<size_t>(ref.kind)];
  const auto after =
      std::upper_bound(shards.begin(), shards.end(), ref.unit,
                       [](int64_t unit, const auto& shard) { return unit < shard->first_unit; });
  const Shard& shard = **std::prev(after);
  Unit unit;
  unit.tokens = shard.read_tokens(ref.unit - shard.first_unit, length());
  for (int32_t id : unit.tokens)
    TESSERA_CHECK(0 <= id && id < vocabulary().size(), "dataset: ", shard.file.path(), ": /tokens holds ", id,
                  ", which is not among ", vocabulary());
  const auto documents = shard.documents_of(ref.unit - shard.first_unit);
  unit.documents.assign(documents.begin(), documents.end());
  return unit;
}

void require_vocabulary(const DatasetIndex& index, const std::string& folder, const Vocabulary& model) {
  TESSERA_CHECK(index.vocabulary == model, "dataset ", folder, " has ", index.vocabulary, ", the model has ",
                model);
}

}  // namespace tessera
