#include "layers/image_autoencoder.h"

#include <cmath>

namespace tessera {
namespace {

ModelConfig block_config(const ImageAutoencoderConfig& config) {
  ModelConfig block;
  block.width = config.width;
  block.heads = config.heads;
  block.norm = "pre";
  block.epsilon = config.epsilon;
  return block;
}

const ImageAutoencoderConfig& checked_config(const ImageAutoencoderConfig& config) {
  check(config);
  return config;
}

/// Every row divided by its Euclidean length.
Var unit_length(const Var& x) {
  // An encoder output of length 0 stays 0 instead of becoming NaN; others lose nothing that f32 would show.
  constexpr float kEpsilon = 1e-12f;
  const int64_t width = x.shape()[1];
  const std::vector<float> weight(static_cast<size_t>(width), 1 / std::sqrt(static_cast<float>(width)));
  return rms_norm(x, Tensor::from(weight, {width}, x.stream()), kEpsilon);
}

}  // namespace

void check(const ImageAutoencoderConfig& config) {
  TESSERA_CHECK(config.patch_side >= 1 && config.image_side % config.patch_side == 0,
                "patch_side: must divide image_side ", config.image_side, ", got ", config.patch_side);
  TESSERA_CHECK(config.heads >= 2 && config.heads % 2 == 0 && config.width % config.heads == 0,
                "heads: must be even and divide width ", config.width, ", got ", config.heads);
}

PatchInput::PatchInput(int64_t in, const ImageAutoencoderConfig& config)
    : weight({config.width, in}), position({config.patches(), config.width}) {}

PatchOutput::PatchOutput(int64_t out, const ImageAutoencoderConfig& config)
    : norm({config.width}, Init::ones), weight({out, config.width}), epsilon(config.epsilon) {}

PatchBlock::PatchBlock(const ModelConfig& config)
    : attention{TwoSidedAttention(config)}, feed_forward{Mlp(config)} {}

PatchTransformer::PatchTransformer(int64_t in, int64_t out, const ImageAutoencoderConfig& config)
    : input{PatchInput(in, config)}, output{PatchOutput(out, config)} {
  for (int64_t block = 0; block < config.blocks; ++block) blocks.emplace_back(block_config(config));
}

Var PatchTransformer::operator()(const Var& x, const PatchRows& rows) {
  Var stream = input(x, rows);
  for (PatchBlock& block : blocks) stream = block(stream, rows);
  return output(stream);
}

Quantiser::Quantiser(const ImageAutoencoderConfig& config) : codebook({config.codes, config.code_width}) {}

Quantised Quantiser::operator()(const Var& encoded, float scale, float commitment) {
  const Var unit = unit_length(encoded), codes = unit_length(codebook);
  const Tensor nearest = nearest_code(unit.value(), codes.value());
  const Var quantised = embedding(nearest, codes);
  const SquaredError codebook_loss = squared_error(quantised, unit.value(), scale);
  const SquaredError commitment_loss = squared_error(unit, quantised.value(), commitment * scale);
  return {straight_through(unit, quantised.value()), add(codebook_loss.total, commitment_loss.total),
          unit.value(), commitment_loss.by_row, nearest};
}

Tensor Quantiser::nearest(const Tensor& encoded) {
  return nearest_code(unit_length(encoded).value(), unit_length(codebook).value());
}

Tensor Quantiser::look_up(const Tensor& codes) { return embedding(codes, unit_length(codebook)).value(); }

ImageAutoencoder::ImageAutoencoder(const ImageAutoencoderConfig& model)
    : config(checked_config(model)),
      encoder(model.patch_values(), model.code_width, model),
      quantiser{Quantiser(model)},
      decoder(model.code_width, model.patch_values(), model) {}

Autoencoded ImageAutoencoder::operator()(const Tensor& patches, const PatchRows& rows, float scale) {
  const float per_number = scale / static_cast<float>(config.code_width);
  const Quantised quantised = quantiser(encoder(patches, rows), per_number, config.commitment);
  const SquaredError error = squared_error(decoder(quantised.rows, rows), patches,
                                           scale / static_cast<float>(config.patch_values()));
  return {add(error.total, quantised.loss), error.by_row, quantised};
}

Tensor ImageAutoencoder::encode(const Tensor& patches, const PatchRows& rows) {
  const Tensor encoded = encoder(patches, rows).value();
  const ShardGroup::Use use(quantiser.group);
  return quantiser.layer.nearest(encoded);
}

Tensor ImageAutoencoder::decode(const Tensor& codes, const PatchRows& rows) {
  Tensor looked_up;
  {
    const ShardGroup::Use use(quantiser.group);
    looked_up = quantiser.layer.look_up(codes);
  }
  return decoder(looked_up, rows).value();
}

}  // namespace tessera
