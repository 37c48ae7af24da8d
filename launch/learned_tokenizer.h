#pragma once
// The image tokenizer that `tessera train-image-tokenizer` learns, and where any image tokenizer is found.

#include <memory>
#include <mutex>

#include "data/image_tokenizer.h"
#include "launch/image_tokenizer_config.h"
#include "runtime/cpu_engine.h"

namespace tessera {

class LearnedTokenizer : public ImageTokenizer {
 public:
  /// checkpoint: its folder.  threads: 0 = one per processor; the codes do not depend on it.  Throws Error when it is damaged
  /// or not of an image tokenizer.
  explicit LearnedTokenizer(const std::string& checkpoint, int threads = 0);

  int64_t side() const override { return model_.config.image_side; }
  int64_t codes_per_image() const override { return model_.config.patches(); }
  int64_t codebook_size() const override { return model_.config.codes; }
  std::vector<int32_t> encode(const Image& image) const override;
  Image decode(std::span<const int32_t> codes) const override;
  /// A code is plain when an image made of it alone is of one colour in its middle: what a code looks like depends on its
  /// neighbours here.  Found out at the first call.
  const std::vector<uint8_t>& plain() const override;
  static constexpr const char* kNameInDataset = "image_tokenizer";
  std::string name_in_dataset() const override { return kNameInDataset; }
  /// Writes a checkpoint without the state of the optimizer: PATH/step_N.
  void save(const std::string& path) const override;

  const ImageTokenizerConfig& config() const { return saved_.state.config; }

 private:
  SavedImageTokenizer saved_;
  // Encoding runs one image at a time, on all threads of the engine: the model's groups belong to one user.
  mutable std::mutex mutex_;
  mutable CpuEngine engine_;
  std::unique_ptr<Communicator> alone_;
  mutable ImageAutoencoder model_;
  Shards shards_;
  PatchRows rows_;  ///< of one image
  mutable std::once_flag plain_known_;
  mutable std::vector<uint8_t> plain_;
};

/// The codebook file or checkpoint folder that path names: either of these, the folder of a run that trained a tokenizer (its
/// latest checkpoint), or a dataset.  Throws Error when it is none of them.
std::string find_image_tokenizer(const std::string& path);
/// Opens what find_image_tokenizer() finds.  threads: as for LearnedTokenizer.
std::unique_ptr<ImageTokenizer> open_image_tokenizer(const std::string& path, int threads = 0);

/// The file or folder of a dataset's image tokenizer, or nothing where it has none.
std::string image_tokenizer_in(const std::string& dataset);

}  // namespace tessera
