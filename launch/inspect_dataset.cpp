#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "data/shard.h"
#include "launch/inspect_parts.h"
#include "launch/learned_tokenizer.h"
#include "runtime/hdf5.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// Statistics of the tokens of some units.
struct TokenCounts {
  std::vector<int64_t> by_id;
  int64_t units = 0, documents = 0;

  explicit TokenCounts(const Vocabulary& vocabulary) : by_id(static_cast<size_t>(vocabulary.size()), 0) {}

  int64_t sum(int64_t first, int64_t end) const {
    return std::accumulate(by_id.begin() + first, by_id.begin() + end, int64_t{0});
  }
};

/// Share of ids [first, end) that occur, and the entropy of their distribution in nats.
Json distribution(const TokenCounts& counts, int64_t first, int64_t end) {
  const auto total = static_cast<double>(counts.sum(first, end));
  int64_t used = 0;
  double entropy = 0;
  for (int64_t id = first; id < end; ++id) {
    const int64_t count = counts.by_id[static_cast<size_t>(id)];
    if (count == 0) continue;
    ++used;
    const double share = static_cast<double>(count) / total;
    entropy -= share * std::log(share);
  }
  return {{"tokens", static_cast<int64_t>(total)},
          {"ids", end - first},
          {"ids_used", used},
          {"entropy_nats", entropy}};
}

Json token_table(const TokenCounts& counts, const Vocabulary& vocabulary) {
  Json table = Json::array();
  const auto add = [&](const char* name, int64_t first, int64_t end) {
    Json row{{"tokens_of", name}};
    row.update(distribution(counts, first, end));
    table.push_back(row);
  };
  add("special ids", 0, Vocabulary::kFirstImage);
  add("image codes", Vocabulary::kFirstImage, vocabulary.end_of_image());
  add("image marks", vocabulary.end_of_image(), vocabulary.first_text());
  add("text pieces", vocabulary.first_text(), vocabulary.size());
  return table;
}

/// Reads every unit of a split, which checks ids and document offsets.
TokenCounts count_split(const TokenDataset& dataset) {
  TokenCounts counts(dataset.vocabulary());
  for (const UnitKind kind : {UnitKind::mixed, UnitKind::text}) {
    for (int64_t number = 0; number < dataset.units(kind); ++number) {
      const Unit unit = dataset.read({kind, number});
      for (const int32_t id : unit.tokens) ++counts.by_id[static_cast<size_t>(id)];
      counts.documents += std::ssize(unit.documents);
      ++counts.units;
    }
  }
  return counts;
}

/// The counts of index.json against the tokens that are there.
void compare(const std::string& split, SplitCounts said, const TokenCounts& found,
             const Vocabulary& vocabulary, Json& problems) {
  const int64_t images = found.sum(Vocabulary::kFirstImage, vocabulary.end_of_image());
  const int64_t padding = found.by_id[Vocabulary::kPad];
  const auto expect = [&](const char* what, int64_t expected, int64_t actual) {
    if (expected != actual)
      problems.push_back(str(split, ": index.json says ", expected, " ", what, ", the shards hold ", actual));
  };
  expect("units", said.mixed_units + said.text_units, found.units);
  expect("image tokens", said.image_tokens, images);
  expect("tokens of padding", said.pad_tokens, padding);
  expect("text tokens", said.text_tokens, found.sum(0, vocabulary.size()) - images - padding);
  expect("images", said.images, found.by_id[static_cast<size_t>(vocabulary.end_of_image())]);
}

/// The ids of a shard, whatever the width they are stored in.
std::vector<int32_t> read_ids(const hdf5::File& file) {
  if (file.dataset("/tokens").element() == hdf5::Element::i32) return file.read<int32_t>("/tokens");
  const std::vector<uint16_t> narrow = file.read<uint16_t>("/tokens");
  return {narrow.begin(), narrow.end()};
}

void check_tokens(const hdf5::File& file, const std::vector<int32_t>& ids, const Vocabulary& vocabulary,
                  TokenCounts& counts, Json& problems) {
  const std::vector<uint8_t> modality = file.read<uint8_t>("/modality");
  int64_t foreign = 0, wrong = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary.size()) {
      ++foreign;
      continue;
    }
    ++counts.by_id[static_cast<size_t>(ids[i])];
    wrong += i < modality.size() && modality[i] != static_cast<uint8_t>(vocabulary.modality_of(ids[i]));
  }
  if (modality.size() != ids.size())
    problems.push_back(str("/modality has ", modality.size(), " entries for ", ids.size(), " tokens"));
  if (foreign > 0) problems.push_back(str("/tokens: ", foreign, " ids are not among ", vocabulary));
  if (wrong > 0)
    problems.push_back(str("/modality: ", wrong, " entries are not the modality of their token"));
}

Json array_table(const hdf5::File& file) {
  Json arrays = Json::array();
  for (const std::string& name : file.children("/")) {
    const hdf5::Dataset array = file.dataset("/" + name);
    arrays.push_back({{"array", "/" + name},
                      {"shape", Json(array.shape()).dump()},
                      {"dtype", hdf5::name_of(array.element())}});
  }
  return arrays;
}

}  // namespace

Json inspect_dataset(const std::string& folder) {
  DatasetIndex index = read_index(folder);
  Json problems = Json::array(), shards = Json::array(), splits = Json::object();
  for (ShardEntry& entry : index.shards) {
    Json row = to_json(entry);
    std::error_code missing;
    const uintmax_t bytes = fs::file_size(fs::path(folder) / entry.file, missing);
    row["bytes"] = missing ? Json("missing") : Json(bytes);
    shards.push_back(row);
  }
  for (auto& [split, said] : index.counts) {
    splits[split] = to_json(said);
    try {
      const TokenCounts counts = count_split(TokenDataset(folder, split));
      compare(split, said, counts, index.vocabulary, problems);
      splits[split]["tokens"] = token_table(counts, index.vocabulary);
    } catch (const Error& error) {
      problems.push_back(error.what());
    }
  }
  Json summary{{"kind", "dataset"},
               {"path", folder},
               {"fingerprint", index.fingerprint},
               {"vocabulary", to_json(index.vocabulary)}};
  summary["vocabulary"]["size"] = index.vocabulary.size();
  summary["tokens_per_unit"] = index.length;
  summary["codes_per_image"] = index.codes_per_image;
  summary["images_per_mixed_unit"] = index.images_per_unit;
  summary["text_tokenizer"] = fs::exists(folder + "/text.model") ? "text.model" : "none";
  const std::string images = image_tokenizer_in(folder);
  summary["image_tokenizer"] = images.empty() ? "none" : fs::path(images).filename().string();
  summary["splits"] = splits;
  summary["shards"] = shards;
  summary["problems"] = problems;
  return summary;
}

Json inspect_shard(const std::string& path) {
  const hdf5::File file = hdf5::File::open(path);
  TESSERA_CHECK(
      file.has_attribute("/", "schema") && file.attribute<std::string>("/", "schema") == "tessera.shard",
      "inspect: ", path, " is an HDF5 file, but not a shard of a dataset");
  Json problems = Json::array();
  Json summary{{"kind", "shard"}, {"path", path}};
  for (const char* name : {"split", "kind", "source", "fingerprint"})
    summary[std::string("shard_") + name] = file.attribute<std::string>("/", name);
  for (const char* name :
       {"version", "length", "codes_per_image", "images_per_unit", "image_codes", "text_pieces"})
    summary[name] = file.attribute<int64_t>("/", name);
  // The fields' own ranges keep a hostile file from asking for memory that a vocabulary never needs.
  Vocabulary vocabulary;
  from_json({{"image_codes", summary["image_codes"]}, {"text_pieces", summary["text_pieces"]}}, path,
            vocabulary);
  const std::vector<int32_t> ids = read_ids(file);
  TokenCounts counts(vocabulary);
  check_tokens(file, ids, vocabulary, counts, problems);
  summary["arrays"] = array_table(file);
  summary["tokens"] = token_table(counts, vocabulary);
  summary["problems"] = problems;
  return summary;
}

}  // namespace tessera
