#include "launch/learned_tokenizer.h"

#include <filesystem>

#include "launch/patches.h"
#include "launch/thread_count.h"
#include "parallel/checkpoint_saver.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

}  // namespace

LearnedTokenizer::LearnedTokenizer(const std::string& checkpoint, int threads)
    : saved_(read_saved_image_tokenizer(checkpoint)),
      engine_(thread_count(threads)),
      alone_(solo_communicator()),
      model_(config().model),
      shards_(shard(model_, Mesh(*alone_), engine_.stream(), {DType::f32, false}, 0, 0)),
      rows_(1, codes_per_image(), engine_.stream()) {
  load_checkpoint(checkpoint, {shards_.pieces(), nullptr}, *alone_);
}

std::vector<int32_t> LearnedTokenizer::encode(const Image& image) const {
  TESSERA_CHECK(image.width == side() && image.height == side(), "image tokenizer: takes ", side(), " x ",
                side(), " pixels, got ", image.width, " x ", image.height);
  const std::lock_guard lock(mutex_);
  const Tensor patches = patches_of({&image, 1}, model_.config.patch_side, engine_.stream());
  return model_.encode(patches, rows_).to_vector<int32_t>();
}

Image LearnedTokenizer::decode(std::span<const int32_t> codes) const {
  TESSERA_CHECK(std::ssize(codes) == codes_per_image(), "image tokenizer: an image has ", codes_per_image(),
                " codes, got ", codes.size());
  for (int32_t code : codes)
    TESSERA_CHECK(0 <= code && code < codebook_size(), "image tokenizer: no code ", code, ", there are ",
                  codebook_size());
  const std::lock_guard lock(mutex_);
  const Tensor ids = Tensor::from(codes, {codes_per_image()}, engine_.stream());
  return images_of(model_.decode(ids, rows_), side(), model_.config.patch_side)[0];
}

const std::vector<uint8_t>& LearnedTokenizer::plain() const {
  std::call_once(plain_known_, [&] {
    const int64_t across = side() / model_.config.patch_side;
    for (int32_t code = 0; code < codebook_size(); ++code) {
      const Image image = decode(std::vector<int32_t>(static_cast<size_t>(codes_per_image()), code));
      plain_.push_back(
          is_plain(patch_of(image, model_.config.patch_side, across / 2 * across + across / 2), 1));
    }
  });
  return plain_;
}

void LearnedTokenizer::save(const std::string& path) const {
  save_checkpoint(path, saved_.step, {shards_.pieces(), nullptr}, to_checkpoint_state(saved_.state), *alone_);
}

std::string image_tokenizer_in(const std::string& dataset) {
  for (const char* name : {PatchCodebook::kNameInDataset, LearnedTokenizer::kNameInDataset})
    if (const std::string path = dataset + "/" + name; fs::exists(path)) return path;
  return "";
}

std::string find_image_tokenizer(const std::string& path) {
  TESSERA_CHECK(fs::exists(path), "image tokenizer: there is no ", path);
  if (!fs::is_directory(path) || fs::exists(path + "/manifest.json")) return path;
  if (const std::string inside = image_tokenizer_in(path); !inside.empty())
    return find_image_tokenizer(inside);
  const std::optional<std::string> latest = latest_checkpoint(path);
  TESSERA_CHECK(latest, "image tokenizer: ", path,
                " is neither a checkpoint, nor a run, nor a dataset with pictures");
  return *latest;
}

std::unique_ptr<ImageTokenizer> open_image_tokenizer(const std::string& path, int threads) {
  const std::string found = find_image_tokenizer(path);
  if (fs::is_directory(found)) return std::make_unique<LearnedTokenizer>(found, threads);
  return load_image_tokenizer(found);
}

}  // namespace tessera
