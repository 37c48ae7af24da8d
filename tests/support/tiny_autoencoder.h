#pragma once
// An image autoencoder small enough to differentiate by differences, on one rank, and pictures for it.

#include "layers/image_autoencoder.h"
#include "tests/support/close.h"

namespace tessera {

/// 4 patches of 2 x 2 pixels, 5 codes of 3 numbers, width 8, one block of 2 heads on either side; matrices of standard
/// deviation 1 / 4, so that every branch matters as much as the residual.
ImageAutoencoderConfig tiny_autoencoder();

/// Uniform pixels of some images, f32 [images * patches, patch_values].
Tensor tiny_patches(const ImageAutoencoderConfig& config, int64_t images, Stream stream);

/// Rounded operations from pixels to the loss and back: the longest sums on the way, backward counted as twice forward.
Roundings autoencoder_roundings(const ImageAutoencoderConfig& config);

/// A model with its initial values, by itself on a stream.
struct LoneAutoencoder {
  std::unique_ptr<Communicator> alone = solo_communicator();
  ImageAutoencoder model;
  Shards shards;

  LoneAutoencoder(const ImageAutoencoderConfig& config, Stream stream)
      : model(config), shards(shard(model, Mesh(*alone), stream, {DType::f32, true}, 1, config.deviation)) {}
};

}  // namespace tessera
