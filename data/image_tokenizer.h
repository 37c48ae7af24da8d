#pragma once
// Pictures to codes and back.  ImageTokenizer is the interface; PatchCodebook is the one that needs no network: every
// patch of pixels is replaced by the nearest of a few hundred patches found by k-means.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "data/image.h"
#include "runtime/fields.h"
#include "runtime/thread_pool.h"

namespace tessera {

class ImageTokenizer {
 public:
  virtual ~ImageTokenizer() = default;

  virtual int64_t side() const = 0;  ///< pixels of the square pictures it takes and gives
  virtual int64_t codes_per_image() const = 0;
  virtual int64_t codebook_size() const = 0;

  /// image side x side -> codes in [0, codebook_size()), row after row.  Throws Error for another size.  Thread-safe.
  virtual std::vector<int32_t> encode(const Image& image) const = 0;
  /// Throws Error when there are not codes_per_image() codes or one is out of range.
  virtual Image decode(std::span<const int32_t> codes) const = 0;
  /// [codebook_size()]: 1 for codes that stand for a piece of one colour, such as background.
  virtual const std::vector<uint8_t>& plain() const = 0;

  /// What a dataset calls it: the name of a file or folder.
  virtual std::string name_in_dataset() const = 0;
  virtual void save(const std::string& path) const = 0;
};

/// Reads the file that PatchCodebook::save() wrote.  Throws Error when it is not that.
std::unique_ptr<ImageTokenizer> load_image_tokenizer(const std::string& path);

/// The pixels of a patch (number index, row after row) of an image, in grey levels.
std::vector<int16_t> patch_of(const Image& image, int64_t patch_side, int64_t index);

/// What makes a code plain: pixels (red, green, blue, in units of so many per grey level) that deviate from their mean colour
/// by less than 6 grey levels, root mean square.
bool is_plain(std::span<const int16_t> pixels, int64_t units_per_level);

struct PatchCodebookConfig {
  int64_t image_side = 64;
  int64_t patch_side = 8;
  int64_t codes = 512;
  int64_t rounds = 12;
  int64_t sample_patches = 65536;

  auto fields() {
    return std::tuple{
        Field{"image_side", image_side, "pixels; pictures are cropped and resampled to this square", 4, 1024},
        Field{"patch_side", patch_side, "pixels of a patch, divides image_side; one code each", 1, 32},
        Field{"codes", codes, "size of the codebook", 2, 65536},
        Field{"rounds", rounds, "rounds of k-means", 0, 1000},
        Field{"sample_patches", sample_patches, "patches that k-means learns from", 1, 1 << 24}};
  }
};

/// Centroids are in eighths of a grey level and all sums are of integers, so the codebook and the codes do not depend on
/// the number of threads or on the processor.
class PatchCodebook : public ImageTokenizer {
 public:
  /// k-means over patches drawn by seed from images (side x side each); starting centroids by k-means++.
  /// Throws Error when there are no images or patch_side does not divide image_side.
  /// Source: Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, 2007.
  static PatchCodebook train(std::span<const Image> images, const PatchCodebookConfig& config, uint64_t seed,
                             ThreadPool& pool);
  static PatchCodebook load(const std::string& path);

  int64_t side() const override { return side_; }
  int64_t codes_per_image() const override { return (side_ / patch_side_) * (side_ / patch_side_); }
  int64_t codebook_size() const override { return codes_; }
  std::vector<int32_t> encode(const Image& image) const override;
  Image decode(std::span<const int32_t> codes) const override;
  const std::vector<uint8_t>& plain() const override { return plain_; }
  static constexpr const char* kNameInDataset = "image_codebook.h5";
  std::string name_in_dataset() const override { return kNameInDataset; }
  void save(const std::string& path) const override;

 private:
  PatchCodebook(int64_t side, int64_t patch_side, std::vector<int16_t> centroids);

  int64_t side_, patch_side_, codes_;
  std::vector<int16_t> centroids_;  ///< [codes, patch_side * patch_side * 3], eighths of a grey level
  std::vector<int64_t> squares_;    ///< [codes] sum of squares of each centroid
  std::vector<uint8_t> plain_;
};

}  // namespace tessera
