#include "tests/support/tiny_autoencoder.h"

#include "runtime/random.h"

namespace tessera {

ImageAutoencoderConfig tiny_autoencoder() {
  return {.image_side = 4,
          .patch_side = 2,
          .codes = 5,
          .code_width = 3,
          .width = 8,
          .blocks = 1,
          .heads = 2,
          .deviation = 0.25f};
}

Tensor tiny_patches(const ImageAutoencoderConfig& config, int64_t images, Stream stream) {
  const int64_t rows = images * config.patches();
  std::vector<float> pixels;
  for (int64_t i = 0; i < rows * config.patch_values(); ++i)
    pixels.push_back(
        static_cast<float>(2 * random_uniform(1, Purpose("pixels"), static_cast<uint64_t>(i)) - 1));
  return Tensor::from(pixels, {rows, config.patch_values()}, stream);
}

}  // namespace tessera
