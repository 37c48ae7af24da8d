#include "launch/patches.h"

#include <algorithm>

namespace tessera {
namespace {

/// Calls visit(place among the values of all patches, place among the bytes of the image) for runs of patch_side pixels.
template <class Visit>
void for_each_run(int64_t image_side, int64_t patch_side, const Visit& visit) {
  const int64_t across = image_side / patch_side, run = patch_side * 3;
  int64_t at = 0;
  for (int64_t patch = 0; patch < across * across; ++patch)
    for (int64_t y = 0; y < patch_side; ++y, at += run)
      visit(at, ((patch / across * patch_side + y) * across + patch % across) * run);
}

/// NaN is black.
uint8_t level_of(float value) {
  const float level = (value + 1) * static_cast<float>(kLevelsPerUnit) + 0.5f;
  return level > 0 ? static_cast<uint8_t>(std::min(level, 255.0f)) : 0;
}

}  // namespace

Tensor patches_of(std::span<const Image> images, int64_t patch_side, Stream stream) {
  TESSERA_CHECK(!images.empty(), "patches: there are no images");
  const int64_t side = images[0].width, values = side * side * 3;
  std::vector<float> patches;
  patches.resize(images.size() * static_cast<size_t>(values));
  float* to = patches.data();
  for (const Image& image : images) {
    for_each_run(side, patch_side, [&](int64_t at, int64_t byte) {
      for (int64_t i = 0; i < patch_side * 3; ++i)
        to[at + i] = static_cast<float>(image.rgb[static_cast<size_t>(byte + i)]) /
                         static_cast<float>(kLevelsPerUnit) -
                     1;
    });
    to += values;
  }
  const int64_t width = patch_side * patch_side * 3;
  return Tensor::from(patches, {std::ssize(patches) / width, width}, stream);
}

std::vector<Image> images_of(const Tensor& patches, int64_t image_side, int64_t patch_side) {
  const std::vector<float> values = patches.to_vector<float>();
  const int64_t size = image_side * image_side * 3;
  std::vector<Image> images;
  for (const float* from = values.data(); from < values.data() + values.size(); from += size) {
    Image image{image_side, image_side, std::vector<uint8_t>(static_cast<size_t>(size))};
    for_each_run(image_side, patch_side, [&](int64_t at, int64_t byte) {
      for (int64_t i = 0; i < patch_side * 3; ++i)
        image.rgb[static_cast<size_t>(byte + i)] = level_of(from[at + i]);
    });
    images.push_back(std::move(image));
  }
  return images;
}

}  // namespace tessera
