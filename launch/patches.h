#pragma once
// Between pictures and the rows of patches that layers/image_autoencoder.h works on.

#include <span>
#include <vector>

#include "data/image.h"
#include "runtime/tensor.h"

namespace tessera {

/// Square images of one size -> f32 [images * patches, patch_side^2 * 3] from -1 (black) to 1, the patches of an image row
/// after row, and so the pixels of a patch.
Tensor patches_of(std::span<const Image> images, int64_t patch_side, Stream stream);

/// Back, rounded to the nearest of 256 levels.
std::vector<Image> images_of(const Tensor& patches, int64_t image_side, int64_t patch_side);

/// Grey levels per unit of a pixel value.
inline constexpr double kLevelsPerUnit = 127.5;

}  // namespace tessera
