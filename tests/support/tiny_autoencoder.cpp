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

Roundings autoencoder_roundings(const ImageAutoencoderConfig& config) {
  const int64_t width = config.width, norm = width + 7, head_dim = width / config.heads,
                hidden = 8 * width / 3;
  const int64_t attention = norm + width + (head_dim + 2 * config.patches() + 8) + width / 2 + 2;
  const int64_t feed_forward = norm + width + 7 + hidden + 1;
  const int64_t ends = config.patch_values() + config.code_width + 2 + 2 * (norm + width);
  const int64_t quantiser = 2 * (config.code_width + 7) + config.code_width + 4;
  const int64_t loss = config.patch_values() + 4;
  return {.terms = 3 * (2 * config.blocks * (attention + feed_forward) + ends + quantiser + loss)};
}

}  // namespace tessera
