#include "data/shard.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "data/shard_file.h"
#include "runtime/json.h"

namespace tessera {
namespace {

UnitKind kind_named(const std::string& name, const std::string& where) {
  for (UnitKind kind : {UnitKind::mixed, UnitKind::text})
    if (name == name_of(kind)) return kind;
  throw Error(str("dataset: ", where, ": kind must be mixed or text, got \"", name, "\""));
}

/// Documents start at row 0, then at increasing rows inside the unit.
bool is_document_list(std::span<const int32_t> documents, int64_t length) {
  if (documents.empty() || documents.front() != 0 || documents.back() >= length) return false;
  return std::adjacent_find(documents.begin(), documents.end(), std::greater_equal<>()) == documents.end();
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

void targets_of(std::span<const int32_t> tokens, std::span<const int32_t> documents,
                std::span<int32_t> targets) {
  if (tokens.empty()) return;
  // In small blocks: some processors are ten times slower at one long copy between places that are four bytes apart.
  constexpr size_t kBlock = 16;
  size_t row = 0;
  for (; row + kBlock < tokens.size(); row += kBlock)
    std::copy_n(tokens.begin() + row + 1, kBlock, targets.begin() + row);
  for (; row + 1 < tokens.size(); ++row) targets[row] = tokens[row + 1];
  for (size_t d = 0; d < documents.size(); ++d) {
    const auto begin = static_cast<size_t>(documents[d]);
    const size_t end = d + 1 < documents.size() ? static_cast<size_t>(documents[d + 1]) : tokens.size();
    targets[end - 1] = -1;
    if (tokens[begin] == Vocabulary::kPad) std::ranges::fill(targets.subspan(begin, end - begin), -1);
  }
}

DatasetWriter::DatasetWriter(std::string folder, DatasetIndex index, int64_t shard_bytes)
    : folder_(std::move(folder)), index_(std::move(index)), shard_bytes_(shard_bytes) {
  TESSERA_CHECK(index_.length >= 2, "dataset: a unit has at least 2 tokens, got ", index_.length);
}

void DatasetWriter::write(const std::string& split, const std::string& source, UnitKind kind,
                          std::span<const Unit> units) {
  const int64_t unit_bytes = index_.length * bytes_per_token(index_.vocabulary);
  const auto per_shard = static_cast<size_t>(std::max<int64_t>(1, shard_bytes_ / unit_bytes));
  for (size_t begin = 0; begin < units.size(); begin += per_shard)
    write_shard(split, source, kind, units.subspan(begin, std::min(per_shard, units.size() - begin)));
}

namespace {

void check_unit(const Unit& unit, UnitKind kind, const DatasetIndex& index) {
  TESSERA_CHECK(std::ssize(unit.tokens) == index.length, "dataset: units have ", index.length,
                " tokens, got ", unit.tokens.size());
  TESSERA_CHECK(is_document_list(unit.documents, index.length),
                "dataset: document offsets of a unit must rise from 0");
  for (int32_t id : unit.tokens)
    TESSERA_CHECK(0 <= id && id < index.vocabulary.size(), "dataset: id ", id, " is not among ",
                  index.vocabulary);
  const int64_t codes = kind == UnitKind::mixed ? index.images_per_unit * index.codes_per_image : 0;
  const auto found = count_tokens(unit, index.vocabulary)[static_cast<size_t>(Modality::image)];
  TESSERA_CHECK(found == codes, "dataset: a ", name_of(kind), " unit has ", codes, " image codes, got ",
                found);
}

void count_unit(const Unit& unit, const Vocabulary& vocabulary, SplitCounts& counts) {
  const auto [text, image] = count_tokens(unit, vocabulary);
  counts.text_tokens += text;
  counts.image_tokens += image;
  counts.pad_tokens += std::ssize(unit.tokens) - text - image;
  counts.images += count_images(unit, vocabulary);
}

ShardAttributes attributes_of(const DatasetIndex& index, const ShardEntry& entry, UnitKind kind) {
  return {entry.split,  entry.source,          index.fingerprint,     kind,
          index.length, index.codes_per_image, index.images_per_unit, index.vocabulary};
}

}  // namespace

void DatasetWriter::write_shard(const std::string& split, const std::string& source, UnitKind kind,
                                std::span<const Unit> units) {
  SplitCounts& counts = index_.counts[split];
  for (const Unit& unit : units) {
    check_unit(unit, kind, index_);
    count_unit(unit, index_.vocabulary, counts);
  }
  (kind == UnitKind::mixed ? counts.mixed_units : counts.text_units) += std::ssize(units);

  const auto number = std::ranges::count_if(index_.shards, [&](const ShardEntry& shard) {
    return shard.split == split && shard.kind == name_of(kind);
  });
  char digits[24];
  std::snprintf(digits, sizeof digits, "%05lld", static_cast<long long>(number));
  ShardEntry entry{.file = str(split, "-", name_of(kind), "-", digits, ".h5"),
                   .split = split,
                   .kind = name_of(kind),
                   .source = source,
                   .units = std::ssize(units)};
  const std::string path = folder_ + "/" + entry.file;
  entry.tokens_at = write_shard_file(path, attributes_of(index_, entry, kind), units);
  entry.bytes = static_cast<int64_t>(std::filesystem::file_size(path));
  index_.shards.push_back(entry);
}

void DatasetWriter::finish() { write_json(folder_ + "/index.json", to_json(index_)); }

namespace {

/// From rows of one count per modality.
void append_counts(std::span<const int32_t> rows, std::vector<PerModality>& counts) {
  for (size_t i = 0; i < rows.size(); i += kModalities) counts.push_back({rows[i], rows[i + 1]});
}

/// The entries of one split and kind, those of one source next to each other; sources in the order of their first shard of
/// any kind.
std::vector<ShardEntry> entries_of(const DatasetIndex& index, const std::string& folder,
                                   const std::string& split, UnitKind kind) {
  std::vector<std::string> sources;
  std::vector<ShardEntry> entries;
  const auto number = [&](const std::string& source) {
    return std::ranges::find(sources, source) - sources.begin();
  };
  for (const ShardEntry& entry : index.shards) {
    if (entry.split != split) continue;
    if (number(entry.source) == std::ssize(sources)) sources.push_back(entry.source);
    if (kind_named(entry.kind, folder + "/index.json") == kind) entries.push_back(entry);
  }
  std::ranges::stable_sort(entries, {}, [&](const ShardEntry& entry) { return number(entry.source); });
  return entries;
}

}  // namespace

TokenDataset::TokenDataset(const std::string& folder, const std::string& split)
    : folder_(folder), index_(read_index(folder)) {
  TESSERA_CHECK(index_.counts.contains(split), "dataset: ", folder, " has no split \"", split, "\"");
  for (const UnitKind kind : {UnitKind::mixed, UnitKind::text}) {
    const auto k = static_cast<size_t>(kind);
    for (const ShardEntry& entry : entries_of(index_, folder, split, kind)) {
      const auto shard = std::make_shared<const ShardFile>(folder, entry, attributes_of(index_, entry, kind));
      std::vector<SourceUnits>& sources = sources_[k];
      if (sources.empty() || sources.back().source != entry.source)
        sources.push_back({entry.source, units(kind), 0});
      sources.back().units += entry.units;
      first_units_[k].push_back(units(kind));
      append_counts(shard->token_counts(), tokens_[k]);
      append_counts(shard->targets(), targets_[k]);
      shards_[k].push_back(shard);
    }
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

std::pair<const ShardFile&, int64_t> TokenDataset::place_of(UnitRef ref) const {
  require_unit(ref);
  const auto k = static_cast<size_t>(ref.kind);
  const auto shard = std::ranges::upper_bound(first_units_[k], ref.unit) - first_units_[k].begin() - 1;
  return {*shards_[k][static_cast<size_t>(shard)], ref.unit - first_units_[k][static_cast<size_t>(shard)]};
}

std::span<const int32_t> TokenDataset::documents(UnitRef ref) const {
  const auto [shard, unit] = place_of(ref);
  return shard.documents(unit);
}

void TokenDataset::will_need(std::span<const UnitRef> units) const {
  for (const UnitRef ref : units) {
    const auto [shard, unit] = place_of(ref);
    shard.will_need(unit);
  }
}

void TokenDataset::read_tokens(UnitRef ref, std::span<int32_t> tokens) const {
  TESSERA_CHECK(std::ssize(tokens) == length(), "dataset: ", folder_, ": a unit has ", length(),
                " tokens, there is room for ", tokens.size());
  const auto [shard, unit] = place_of(ref);
  shard.read(unit, tokens);
}

Unit TokenDataset::read(UnitRef ref) const {
  const std::span<const int32_t> starts = documents(ref);
  Unit unit{std::vector<int32_t>(static_cast<size_t>(length())), {starts.begin(), starts.end()}};
  read_tokens(ref, unit.tokens);
  return unit;
}

void require_vocabulary(const DatasetIndex& index, const std::string& folder, const Vocabulary& model) {
  TESSERA_CHECK(index.vocabulary == model, "dataset ", folder, " has ", index.vocabulary, ", the model has ",
                model);
}

}  // namespace tessera
