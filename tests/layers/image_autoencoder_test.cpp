// The image autoencoder: its gradient against differences of a double-precision model with the assignment of codes held
// fixed, who sees whom, and what it refuses.
#include <gtest/gtest.h>

#include "runtime/cpu_engine.h"
#include "tests/support/autoencoder_reference.h"
#include "tests/support/tiny_autoencoder.h"

namespace tessera {
namespace {

constexpr int64_t kImages = 3;

Values widened(const Tensor& tensor) {
  const std::vector<float> values = tensor.to_vector<float>();
  return {values.begin(), values.end()};
}

TEST(ImageAutoencoder, GradientMatchesDoublePrecision) {
  const ImageAutoencoderConfig config = tiny_autoencoder();
  CpuEngine engine;
  const Stream stream = engine.stream();
  LoneAutoencoder lone(config, stream);
  const Tensor patches = tiny_patches(config, kImages, stream);
  const PatchRows rows(kImages, config.patches(), stream);
  const float scale = 1 / static_cast<float>(kImages * config.patches());
  lone.shards.begin_round(0, 1);
  Tape tape;
  const Autoencoded result = lone.model(patches, rows, scale);
  tape.backward(result.loss);
  lone.shards.finish_step();

  reference::Parameters parameters;
  for (const ShardPiece& piece : lone.shards.pieces())
    parameters[piece.parameter->name] = widened(piece.value);
  const Values pixels = widened(patches);
  const reference::Assignment assignment =
      reference::assignment_of(config, parameters, pixels, result.quantised.codes.to_vector<int32_t>());
  const auto loss = [&] {
    return reference::loss(config, parameters, pixels, assignment, static_cast<double>(scale));
  };
  const Roundings roundings = autoencoder_roundings(config);
  EXPECT_TRUE(close({"loss", widened(result.loss.value()), {loss()}, DType::f32, roundings}));
  for (const ShardPiece& piece : lone.shards.pieces()) {
    Values expected;
    for (double& value : parameters.at(piece.parameter->name))
      expected.push_back(reference::derivative(value, loss));
    Comparison comparison{piece.parameter->name, widened(piece.grad), expected, DType::f32, roundings};
    EXPECT_GT(largest_magnitude(expected), 0) << comparison.what;
    EXPECT_TRUE(close(comparison));
    for (double& value : comparison.actual) value *= 1 + 10 * relative_tolerance(comparison);
    EXPECT_FALSE(close(comparison)) << comparison.what << ": an error of ten tolerances was not noticed";
  }
}

TEST(ImageAutoencoder, EveryPatchSeesItsImageAndNoOther) {
  const ImageAutoencoderConfig config = tiny_autoencoder();
  CpuEngine engine;
  const Stream stream = engine.stream();
  LoneAutoencoder lone(config, stream);
  const PatchRows rows(kImages, config.patches(), stream);
  const Tensor patches = tiny_patches(config, kImages, stream);
  const auto outputs = [&] { return lone.model.encoder(patches, rows).value().to_vector<float>(); };
  const std::vector<float> before = outputs();
  for (int64_t changed = 0; changed < kImages * config.patches(); ++changed) {
    float& pixel = patches.values<float>()[static_cast<size_t>(changed * config.patch_values())];
    const float kept = std::exchange(pixel, pixel + 0.5f);
    const std::vector<float> after = outputs();
    pixel = kept;
    for (int64_t row = 0; row < kImages * config.patches(); ++row) {
      const auto begin = before.begin() + row * config.code_width;
      const bool same = std::equal(begin, begin + config.code_width, after.begin() + row * config.code_width);
      EXPECT_EQ(same, row / config.patches() != changed / config.patches())
          << "patch " << row << " when patch " << changed << " changes";
    }
  }
}

TEST(ImageAutoencoder, AnImageAloneGetsTheCodesAndPixelsThatItGetsInABatch) {
  const ImageAutoencoderConfig config = tiny_autoencoder();
  CpuEngine engine(2);
  const Stream stream = engine.stream();
  LoneAutoencoder lone(config, stream);
  const Tensor patches = tiny_patches(config, kImages, stream);
  const PatchRows all(kImages, config.patches(), stream), one(1, config.patches(), stream);
  const Tensor codes = lone.model.encode(patches, all), pixels = lone.model.decode(codes, all);
  EXPECT_EQ(lone.model(patches, all, 1).quantised.codes.to_vector<int32_t>(), codes.to_vector<int32_t>());
  for (int64_t image = 0; image < kImages; ++image) {
    const Shape shape{config.patches(), config.patch_values()};
    const Tensor own = lone.model.encode(patches.slice(image * shape.count(), shape), one);
    EXPECT_EQ(own.to_vector<int32_t>(),
              codes.slice(image * config.patches(), {config.patches()}).to_vector<int32_t>());
    EXPECT_EQ(lone.model.decode(own, one).to_vector<float>(),
              pixels.slice(image * shape.count(), shape).to_vector<float>());
  }
}

TEST(ImageAutoencoder, RefusesWhatDoesNotFit) {
  const auto message = [](const ImageAutoencoderConfig& config) -> std::string {
    try {
      const ImageAutoencoder model(config);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  ImageAutoencoderConfig config = tiny_autoencoder();
  config.patch_side = 3;
  EXPECT_EQ(message(config), "patch_side: must divide image_side 4, got 3");
  config = tiny_autoencoder();
  config.heads = 1;
  EXPECT_EQ(message(config), "heads: must be even and divide width 8, got 1");
}

}  // namespace
}  // namespace tessera
