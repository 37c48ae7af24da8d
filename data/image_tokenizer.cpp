#include "data/image_tokenizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "runtime/error.h"
#include "runtime/hdf5.h"
#include "runtime/random.h"

namespace tessera {
namespace {

constexpr const char* kSchema = "tessera.image_tokenizer";
constexpr const char* kKind = "patch_codebook";
constexpr int64_t kVersion = 1;

/// With patches of at most 32 x 32 x 3 values, a dot product of 8-bit pixels and centroids fits 32 bits:
/// 3072 * 255 * 2040 < 2^31.
constexpr int64_t kUnitsPerLevel = 8;
constexpr int64_t kMostPatchSide = 32;

/// A code is plain when its patch deviates from its mean colour by less than this many grey levels (root mean square).
constexpr int64_t kPlainDeviation = 6;

constexpr Purpose kDrawPatches("patches of the codebook"), kDrawCentroids("centroids of the codebook");

/// Patches as rows of pixels, widened for the dot products.
struct Patches {
  int64_t count = 0;
  int64_t values = 0;  ///< of one patch
  std::vector<int16_t> pixels;

  const int16_t* operator[](int64_t index) const { return pixels.data() + index * values; }
};

void copy_patch(const Image& image, int64_t patch_side, int64_t index, int16_t* out) {
  const int64_t across = image.width / patch_side;
  const int64_t top = index / across * patch_side, left = index % across * patch_side;
  for (int64_t y = 0; y < patch_side; ++y) {
    const uint8_t* row = image.rgb.data() + ((top + y) * image.width + left) * 3;
    out = std::copy(row, row + patch_side * 3, out);
  }
}

int32_t dot(const int16_t* a, const int16_t* b, int64_t count) {
  int32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<int32_t>(a[i]) * b[i];
  return sum;
}

int64_t sum_squares(const int16_t* values, int64_t count) {
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<int64_t>(values[i]) * values[i];
  return sum;
}

struct Centroids {
  std::span<const int16_t> values;   ///< [codes, values of a patch]
  std::span<const int64_t> squares;  ///< [codes]
};

struct Nearest {
  int32_t code = 0;
  int64_t score = std::numeric_limits<int64_t>::max();  ///< squared distance less the patch's own square
};

/// |k x - c|^2 = k^2 |x|^2 + |c|^2 - 2 k x . c, and the first term is the same for all codes.  The lower code wins ties.
Nearest nearest_code(const int16_t* patch, int64_t values, const Centroids& centroids) {
  Nearest best;
  for (size_t code = 0; code < centroids.squares.size(); ++code) {
    const int64_t product = dot(patch, centroids.values.data() + static_cast<int64_t>(code) * values, values);
    const int64_t score = centroids.squares[code] - 2 * kUnitsPerLevel * product;
    if (score < best.score) best = {static_cast<int32_t>(code), score};
  }
  return best;
}

constexpr int64_t kChunk = 512;  // patches that a thread takes at a time

template <class Body>
void for_each_patch(int64_t count, ThreadPool& pool, const Body& body) {
  pool.run((count + kChunk - 1) / kChunk, [&](int64_t chunk, int) {
    for (int64_t i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i) body(i);
  });
}

Patches draw_patches(std::span<const Image> images, const PatchCodebookConfig& config, uint64_t seed,
                     ThreadPool& pool) {
  const int64_t across = config.image_side / config.patch_side, per_image = across * across;
  const int64_t all = std::ssize(images) * per_image;
  Patches patches{std::min(all, config.sample_patches), config.patch_side * config.patch_side * 3, {}};
  patches.pixels.resize(static_cast<size_t>(patches.count * patches.values));
  for_each_patch(patches.count, pool, [&](int64_t i) {
    const auto drawn = static_cast<int64_t>(
        random_permutation(seed, kDrawPatches, static_cast<uint64_t>(all), static_cast<uint64_t>(i)));
    copy_patch(images[static_cast<size_t>(drawn / per_image)], config.patch_side, drawn % per_image,
               patches.pixels.data() + i * patches.values);
  });
  return patches;
}

/// k-means++: each new centroid is a patch drawn with probability proportional to its squared distance from the
/// centroids so far.  When every patch is a centroid already, the rest repeat the first.
std::vector<int16_t> first_centroids(const Patches& patches, int64_t codes, uint64_t seed, ThreadPool& pool) {
  std::vector<int64_t> distance(static_cast<size_t>(patches.count), std::numeric_limits<int64_t>::max());
  std::vector<int16_t> centroids;
  for (int64_t code = 0; code < codes; ++code) {
    const auto counter = static_cast<uint64_t>(code);
    int64_t chosen = 0;
    if (code == 0) {
      chosen = static_cast<int64_t>(
          random_below(seed, kDrawCentroids, counter, static_cast<uint64_t>(patches.count)));
    } else {
      int64_t total = 0;
      for (int64_t value : distance) total += value;
      if (total > 0) {
        auto left =
            static_cast<int64_t>(random_below(seed, kDrawCentroids, counter, static_cast<uint64_t>(total)));
        while (left >= distance[static_cast<size_t>(chosen)]) left -= distance[static_cast<size_t>(chosen++)];
      }
    }
    const int16_t* centre = patches[chosen];
    for (int64_t v = 0; v < patches.values; ++v)
      centroids.push_back(static_cast<int16_t>(centre[v] * kUnitsPerLevel));
    for_each_patch(patches.count, pool, [&](int64_t i) {
      int64_t sum = 0;
      for (int64_t v = 0; v < patches.values; ++v) {
        const int32_t difference = patches[i][v] - centre[v];
        sum += difference * difference;
      }
      distance[static_cast<size_t>(i)] = std::min(distance[static_cast<size_t>(i)], sum);
    });
  }
  return centroids;
}

std::vector<int64_t> squares_of(std::span<const int16_t> centroids, int64_t values) {
  std::vector<int64_t> squares;
  for (size_t at = 0; at < centroids.size(); at += static_cast<size_t>(values))
    squares.push_back(sum_squares(centroids.data() + at, values));
  return squares;
}

/// One round of Lloyd: assign, then average.  A code that no patch is nearest to keeps its centroid.
void improve(const Patches& patches, std::vector<int16_t>& centroids, ThreadPool& pool) {
  const std::vector<int64_t> squares = squares_of(centroids, patches.values);
  std::vector<int32_t> code_of(static_cast<size_t>(patches.count));
  for_each_patch(patches.count, pool, [&](int64_t i) {
    code_of[static_cast<size_t>(i)] = nearest_code(patches[i], patches.values, {centroids, squares}).code;
  });
  std::vector<int64_t> sums(centroids.size()), members(squares.size());
  for (int64_t i = 0; i < patches.count; ++i) {
    const auto code = static_cast<size_t>(code_of[static_cast<size_t>(i)]);
    ++members[code];
    for (int64_t v = 0; v < patches.values; ++v)
      sums[code * static_cast<size_t>(patches.values) + static_cast<size_t>(v)] += patches[i][v];
  }
  for (size_t at = 0; at < sums.size(); ++at)
    if (const int64_t count = members[at / static_cast<size_t>(patches.values)]; count > 0)
      centroids[at] = static_cast<int16_t>((2 * kUnitsPerLevel * sums[at] + count) / (2 * count));
}

}  // namespace

std::vector<int16_t> patch_of(const Image& image, int64_t patch_side, int64_t index) {
  std::vector<int16_t> pixels(static_cast<size_t>(patch_side * patch_side * 3));
  copy_patch(image, patch_side, index, pixels.data());
  return pixels;
}

bool is_plain(std::span<const int16_t> values, int64_t units_per_level) {
  const int64_t pixels = std::ssize(values) / 3;
  int64_t spread = 0;  // pixels * sum of squared deviations
  for (int64_t channel = 0; channel < 3; ++channel) {
    int64_t sum = 0, squares = 0;
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      const int64_t value = values[static_cast<size_t>(pixel * 3 + channel)];
      sum += value;
      squares += value * value;
    }
    spread += pixels * squares - sum * sum;
  }
  const int64_t limit = kPlainDeviation * units_per_level;
  return spread < limit * limit * pixels * std::ssize(values);
}

PatchCodebook::PatchCodebook(int64_t side, int64_t patch_side, std::vector<int16_t> centroids)
    : side_(side), patch_side_(patch_side), centroids_(std::move(centroids)) {
  const int64_t values = patch_side * patch_side * 3;
  codes_ = std::ssize(centroids_) / values;
  squares_ = squares_of(centroids_, values);
  for (int64_t code = 0; code < codes_; ++code)
    plain_.push_back(is_plain(
        std::span(centroids_).subspan(static_cast<size_t>(code * values), static_cast<size_t>(values)),
        kUnitsPerLevel));
}

PatchCodebook PatchCodebook::train(std::span<const Image> images, const PatchCodebookConfig& config,
                                   uint64_t seed, ThreadPool& pool) {
  TESSERA_CHECK(config.patch_side >= 1 && config.patch_side <= kMostPatchSide &&
                    config.image_side % config.patch_side == 0,
                "image codebook: patch_side must divide image_side ", config.image_side, " and be at most ",
                kMostPatchSide, ", got ", config.patch_side);
  TESSERA_CHECK(!images.empty(), "image codebook: there are no images to learn from");
  for (const Image& image : images)
    TESSERA_CHECK(image.width == config.image_side && image.height == config.image_side,
                  "image codebook: images must be ", config.image_side, " x ", config.image_side, ", got ",
                  image.width, " x ", image.height);
  const Patches patches = draw_patches(images, config, seed, pool);
  std::vector<int16_t> centroids = first_centroids(patches, config.codes, seed, pool);
  for (int64_t round = 0; round < config.rounds; ++round) improve(patches, centroids, pool);
  return PatchCodebook(config.image_side, config.patch_side, std::move(centroids));
}

std::vector<int32_t> PatchCodebook::encode(const Image& image) const {
  TESSERA_CHECK(image.width == side_ && image.height == side_, "image codebook: takes ", side_, " x ", side_,
                " pixels, got ", image.width, " x ", image.height);
  const int64_t values = patch_side_ * patch_side_ * 3;
  std::vector<int32_t> codes;
  for (int64_t index = 0; index < codes_per_image(); ++index)
    codes.push_back(
        nearest_code(patch_of(image, patch_side_, index).data(), values, {centroids_, squares_}).code);
  return codes;
}

Image PatchCodebook::decode(std::span<const int32_t> codes) const {
  TESSERA_CHECK(std::ssize(codes) == codes_per_image(), "image codebook: an image has ", codes_per_image(),
                " codes, got ", codes.size());
  Image image{side_, side_, std::vector<uint8_t>(static_cast<size_t>(side_ * side_ * 3))};
  const int64_t across = side_ / patch_side_, row_values = patch_side_ * 3;
  for (int64_t index = 0; index < codes_per_image(); ++index) {
    const int32_t code = codes[static_cast<size_t>(index)];
    TESSERA_CHECK(0 <= code && code < codes_, "image codebook: no code ", code, ", there are ", codes_);
    const int16_t* value = centroids_.data() + code * patch_side_ * row_values;
    for (int64_t y = 0; y < patch_side_; ++y) {
      uint8_t* row =
          image.rgb.data() + ((index / across * patch_side_ + y) * across + index % across) * row_values;
      for (int64_t i = 0; i < row_values; ++i)
        row[i] = static_cast<uint8_t>((*value++ + kUnitsPerLevel / 2) / kUnitsPerLevel);
    }
  }
  return image;
}

void PatchCodebook::save(const std::string& path) const {
  hdf5::File file = hdf5::File::create(path);
  const std::vector<uint16_t> stored(centroids_.begin(), centroids_.end());  // never negative
  file.write("/centroids", {codes_, patch_side_, patch_side_, 3}, std::span<const uint16_t>(stored));
  file.write("/plain", plain_);
  file.set_attribute("/", "schema", std::string(kSchema));
  file.set_attribute("/", "kind", std::string(kKind));
  file.set_attribute("/", "version", kVersion);
  file.set_attribute("/", "side", side_);
  file.set_attribute("/centroids", "units_per_grey_level", kUnitsPerLevel);
  file.close();
}

PatchCodebook PatchCodebook::load(const std::string& path) {
  const hdf5::File file = hdf5::File::open(path);
  const auto text = [&](const char* name) { return file.attribute<std::string>("/", name); };
  TESSERA_CHECK(text("schema") == kSchema && text("kind") == kKind &&
                    file.attribute<int64_t>("/", "version") == kVersion,
                "image codebook: ", path, " is not a ", kKind, " of version ", kVersion);
  const auto side = file.attribute<int64_t>("/", "side");
  const std::vector<int64_t> shape = file.dataset("/centroids").shape();
  TESSERA_CHECK(shape.size() == 4 && shape[0] >= 1 && shape[1] >= 1 && shape[1] <= kMostPatchSide &&
                    shape[1] == shape[2] && shape[3] == 3 && side >= 1 && side % shape[1] == 0,
                "image codebook: ", path, ": /centroids does not fit pictures of side ", side);
  const std::vector<uint16_t> stored = file.read<uint16_t>("/centroids");
  for (uint16_t value : stored)
    TESSERA_CHECK(value <= 255 * kUnitsPerLevel, "image codebook: ", path, ": /centroids holds ", value,
                  ", more than white");
  return PatchCodebook(side, shape[1], {stored.begin(), stored.end()});
}

std::unique_ptr<ImageTokenizer> load_image_tokenizer(const std::string& path) {
  return std::make_unique<PatchCodebook>(PatchCodebook::load(path));
}

}  // namespace tessera
