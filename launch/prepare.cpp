#include "launch/prepare.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "data/corpus.h"
#include "data/fingerprint.h"
#include "data/folder_draft.h"
#include "data/packing.h"
#include "launch/learned_tokenizer.h"
#include "launch/thread_count.h"
#include "runtime/json.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// Part of the fingerprint: raised when the same input would give other tokens.
constexpr const char* kImporter = "tessera prepare 1";

constexpr const char* kTextModel = "text.model";
constexpr const char* kOtherSources =
    "all";  ///< where documents go whose source config.sources does not name

/// The file whose bytes say which image tokenizer is used, or nothing where k-means learns one.
std::string image_tokenizer_file(const PrepareConfig& config) {
  std::string path = config.image_tokenizer;
  if (path.empty() && !config.tokenizers.empty()) path = image_tokenizer_in(config.tokenizers);
  if (path.empty()) return "";
  const std::string found = find_image_tokenizer(path);
  return fs::is_directory(found) ? found + "/manifest.json" : found;
}

std::string fingerprint_of(PrepareConfig config, const Corpus& corpus) {
  Fingerprint fingerprint;
  fingerprint.add(kImporter);
  if (!config.tokenizers.empty()) fingerprint.add_file(config.tokenizers + "/" + kTextModel);
  if (const std::string images = image_tokenizer_file(config); !images.empty()) fingerprint.add_file(images);
  config.manifest = config.out = config.tokenizers = "";
  config.threads = 0;
  Json settings = to_json(config);
  settings.erase("image_tokenizer");  // its bytes count, not its name
  fingerprint.add(settings.dump());
  fingerprint.add(corpus.manifest_hash);
  for (const std::string& path : corpus.images) fingerprint.add_file(path);
  return fingerprint.hex();
}

/// The dataset that is there already; none when the folder does not exist or is empty.  Throws Error for a folder with
/// other things in it, which is not ours to replace.
std::optional<DatasetIndex> dataset_at(const std::string& folder) {
  if (!fs::exists(folder) || (fs::is_directory(folder) && fs::is_empty(folder))) return {};
  TESSERA_CHECK(fs::exists(folder + "/index.json"), "prepare: ", folder,
                " holds other things than a dataset: choose another out");
  try {
    return read_index(folder);
  } catch (const Error&) {
    return {};  // a dataset of another version, or a damaged one: to be replaced
  }
}

int64_t images_per_unit(const PrepareConfig& config, int64_t codes_per_image) {
  const double share =
      config.image_share * static_cast<double>(config.length) / static_cast<double>(codes_per_image);
  const auto images = static_cast<int64_t>(std::llround(share));
  TESSERA_CHECK(images >= 1, "prepare: image_share ", config.image_share, " of length ", config.length,
                " is less than one image of ", codes_per_image, " codes");
  return images;
}

/// None when neither the corpus nor the earlier tokenizers know pictures.
std::unique_ptr<ImageTokenizer> image_tokenizer(const PrepareConfig& config, const Corpus& corpus,
                                                const ImageLibrary& library, ThreadPool& pool) {
  if (!config.image_tokenizer.empty()) return open_image_tokenizer(config.image_tokenizer, config.threads);
  if (!config.tokenizers.empty() &&
      (!image_tokenizer_in(config.tokenizers).empty() || !corpus.images.empty()))
    return open_image_tokenizer(config.tokenizers, config.threads);
  if (corpus.images.empty()) return nullptr;
  const std::vector<Image> sample =
      library.sample(config.sample_images, config.images.image_side, config.seed, pool);
  return std::make_unique<PatchCodebook>(PatchCodebook::train(sample, config.images, config.seed, pool));
}

TextTokenizer text_tokenizer(const PrepareConfig& config, const Corpus& corpus, int64_t image_codes) {
  if (!config.tokenizers.empty()) return TextTokenizer::load(config.tokenizers + "/" + kTextModel);
  const int64_t pieces = config.vocabulary - Vocabulary{image_codes, 0}.size();
  return TextTokenizer::train(sample_lines(corpus.train, config.sample_text_bytes), pieces);
}

/// The ids of documents, which keep their order, by source of the dataset.
std::map<std::string, std::vector<std::vector<int32_t>>> by_source(
    const PrepareConfig& config, const std::vector<ManifestDocument>& documents,
    std::vector<std::vector<int32_t>> encoded) {
  std::map<std::string, std::vector<std::vector<int32_t>>> sources;
  for (size_t i = 0; i < documents.size(); ++i) {
    const auto named = config.sources.find(documents[i].source);
    sources[named == config.sources.end() ? kOtherSources : named->second].push_back(std::move(encoded[i]));
  }
  return sources;
}

std::string summary(const std::string& split, SplitCounts& counts) {
  const auto tokens = static_cast<double>(counts.text_tokens + counts.image_tokens + counts.pad_tokens);
  std::ostringstream out;
  out.precision(3);
  out << split << ": " << counts.documents << " documents, " << counts.mixed_units << " mixed and "
      << counts.text_units << " text units, " << counts.text_tokens << " text and " << counts.image_tokens
      << " image tokens, padding " << 100 * static_cast<double>(counts.pad_tokens) / tokens << " %, "
      << counts.images << " images used, " << counts.images_dropped << " dropped";
  return out.str();
}

/// Held-out pictures before and after the tokenizer, for people to look at: samples/NN_original.png and
/// samples/NN_reconstruction.png.
void write_samples(const std::string& folder, const Corpus& corpus, const ImageTokenizer& tokenizer,
                   const ImageLibrary& library) {
  constexpr size_t kSamples = 12;
  std::vector<std::string> paths;
  for (const ManifestDocument& document : corpus.validation)
    for (const ManifestPart& part : document.parts)
      if (part.is_image && std::ranges::find(paths, part.value) == paths.end() && paths.size() < kSamples)
        paths.push_back(part.value);
  fs::create_directories(folder);
  for (size_t i = 0; i < paths.size(); ++i) {
    const std::string name = folder + (i < 10 ? "/0" : "/") + std::to_string(i);
    write_png(name + "_original.png", centre_square(read_image(paths[i]), tokenizer.side()));
    write_png(name + "_reconstruction.png", tokenizer.decode(library.codes(paths[i])));
  }
}

}  // namespace

DatasetIndex prepare(const PrepareConfig& config, const Announce& progress) {
  TESSERA_CHECK(!config.manifest.empty(), "prepare: manifest is not set");
  TESSERA_CHECK(!config.out.empty(), "prepare: out is not set");
  const std::optional<DatasetIndex> earlier = dataset_at(config.out);
  const Corpus corpus =
      read_corpus(config.manifest, {config.max_text_bytes, config.validation_share, config.seed});
  TESSERA_CHECK(!corpus.train.empty(), "prepare: ", config.manifest, " has no train documents");
  for (const auto& [source, group] : config.sources)
    TESSERA_CHECK(corpus.sources.contains(source), "prepare: sources names source \"", source,
                  "\", which is not in ", config.manifest);
  const std::string fingerprint = fingerprint_of(config, corpus);
  if (earlier && earlier->fingerprint == fingerprint) {
    progress(str(config.out, " is up to date"));
    return *earlier;
  }
  progress(str("read ", config.manifest, ": ", corpus.train.size(), " train and ", corpus.validation.size(),
               " validation documents, ", corpus.images.size(), " images"));

  ThreadPool pool(thread_count(config.threads));
  FolderDraft draft(config.out);
  DatasetIndex index;
  index.fingerprint = fingerprint;
  index.length = config.length;
  ImageLibrary library(corpus.images);
  if (const std::unique_ptr<ImageTokenizer> images = image_tokenizer(config, corpus, library, pool)) {
    progress(str("image codebook: ", images->codebook_size(), " codes, ", images->codes_per_image(),
                 " per image"));
    library.encode(*images, pool);
    images->save(draft.path() + "/" + images->name_in_dataset());
    write_samples(draft.path() + "/samples", corpus, *images, library);
    index.vocabulary.image_codes = images->codebook_size();
    index.codes_per_image = images->codes_per_image();
    if (!corpus.images.empty()) index.images_per_unit = images_per_unit(config, index.codes_per_image);
  }
  const TextTokenizer text = text_tokenizer(config, corpus, index.vocabulary.image_codes);
  text.save(draft.path() + "/" + kTextModel);
  index.vocabulary.text_pieces = text.pieces();
  progress(str("vocabulary: ", index.vocabulary));

  DatasetWriter writer(draft.path(), index, config.shard_bytes);
  for (const auto& [split, documents] :
       {std::pair{"train", &corpus.train}, {"validation", &corpus.validation}}) {
    SplitCounts& counts = writer.counts(split);
    counts.documents = std::ssize(*documents);
    for (const auto& [source, encoded] :
         by_source(config, *documents, encode_documents(*documents, text, library, index.vocabulary, pool))) {
      const Packed packed =
          pack(encoded, index.vocabulary, {index.length, index.codes_per_image, index.images_per_unit});
      counts.images_dropped += packed.images_dropped;
      counts.text_tokens_dropped += packed.text_tokens_dropped;
      writer.write(split, source, UnitKind::mixed, packed.mixed);
      writer.write(split, source, UnitKind::text, packed.text);
    }
    progress(summary(split, counts));
  }
  writer.finish();
  draft.publish();
  return writer.index();
}

}  // namespace tessera
