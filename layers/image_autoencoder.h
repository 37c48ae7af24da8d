#pragma once
// A vector-quantised autoencoder of images: a transformer over patches gives every patch one of a few hundred codes, another
// one gives the patches back.
// Sources: van den Oord et al., Neural discrete representation learning (arXiv 1711.00937), 3: nearest code, straight-through
// gradient, codebook and commitment loss; Yu et al., ViT-VQGAN (arXiv 2110.04627), 3.2: patch transformers on both sides,
// narrow codes of Euclidean length 1.  Without the perceptual and adversarial losses of Esser et al. (arXiv 2012.09841).

#include <vector>

#include "layers/feed_forward.h"
#include "layers/layer.h"
#include "layers/two_sided_attention.h"

namespace tessera {

struct ImageAutoencoderConfig {
  int64_t image_side = 64;
  int64_t patch_side = 8;
  int64_t codes = 512;
  int64_t code_width = 16;
  int64_t width = 128;
  int64_t blocks = 2;
  int64_t heads = 4;
  float commitment = 0.25f;
  float epsilon = 1e-5f;
  float deviation = 0.02f;

  auto fields() {
    return std::tuple{
        Field{"image_side", image_side, "pixels; pictures are cropped and resampled to this square", 4, 1024},
        Field{"patch_side", patch_side, "pixels of a patch, divides image_side; one code each", 1, 32},
        Field{"codes", codes, "size of the codebook", 2, 65536},
        Field{"code_width", code_width, "numbers of a code", 1, 256},
        Field{"width", width, "size of the residual stream", 4, 1 << 16},
        Field{"blocks", blocks, "transformer blocks of the encoder, and as many of the decoder", 0, 256},
        Field{"heads", heads, "attention heads, an even number; half of them read backwards", 2, 1024},
        Field{"commitment", commitment, "weight of the loss that keeps encoder outputs near their codes", 0,
              100},
        Field{"epsilon", epsilon, "inside the norms", 1e-12, 1},
        Field{"deviation", deviation, "standard deviation of the initial matrices", 0, 10}};
  }

  int64_t patches() const {
    return (image_side / patch_side) * (image_side / patch_side);
  }  ///< codes per image
  int64_t patch_values() const { return patch_side * patch_side * 3; }
};

/// Throws Error naming the field when members do not fit each other.
void check(const ImageAutoencoderConfig& config);

struct PatchInput {
  Parameter weight, position;  ///< [width, in], [patches, width]

  PatchInput(int64_t in, const ImageAutoencoderConfig& config);
  Var operator()(const Var& x, const PatchRows& rows) {
    return add(matmul(x, weight), embedding(rows.places, position));
  }
  auto fields() { return std::tuple{Field{"weight", weight}, Field{"position", position}}; }
};

struct PatchOutput {
  Parameter norm, weight;  ///< [width], [out, width]
  float epsilon;

  PatchOutput(int64_t out, const ImageAutoencoderConfig& config);
  Var operator()(const Var& x) { return matmul(rms_norm(x, norm, epsilon), weight); }
  auto fields() { return std::tuple{Field{"norm", norm}, Field{"weight", weight}}; }
};

struct PatchBlock {
  Sharded<TwoSidedAttention> attention;
  Sharded<Mlp> feed_forward;

  explicit PatchBlock(const ModelConfig& config);
  Var operator()(const Var& x, const PatchRows& rows) { return feed_forward(attention(x, rows), Rows{}); }
  auto fields() { return std::tuple{Field{"attention", attention}, Field{"feed_forward", feed_forward}}; }
};

/// x [rows, in] -> [rows, out], every row by all rows of its image.
struct PatchTransformer {
  Sharded<PatchInput> input;
  std::vector<PatchBlock> blocks;
  Sharded<PatchOutput> output;

  PatchTransformer(int64_t in, int64_t out, const ImageAutoencoderConfig& config);
  Var operator()(const Var& x, const PatchRows& rows);
  auto fields() {
    return std::tuple{Field{"input", input}, Field{"blocks", blocks}, Field{"output", output}};
  }
};

/// What the quantiser made of rows.
struct Quantised {
  Var rows;        ///< [rows, code_width]: the code of each row; its gradient is that of the encoder's output
  Var loss;        ///< [1]: codebook and commitment loss, scaled
  Tensor encoded;  ///< [rows, code_width]: encoder outputs, of length 1
  Tensor code_error;  ///< f32 [rows]: their squared distance to their codes
  Tensor codes;       ///< i32 [rows]
};

struct Quantiser {
  Parameter codebook;  ///< [codes, code_width]; a code is a row divided by its length

  explicit Quantiser(const ImageAutoencoderConfig& config);
  /// Codebook loss: scale times the squared distances summed over rows, which moves the codes; commitment times as much moves
  /// the encoder.
  Quantised operator()(const Var& encoded, float scale, float commitment);
  Tensor nearest(const Tensor& encoded);  ///< [rows, code_width] -> i32 [rows]
  Tensor look_up(const Tensor& codes);    ///< i32 [rows] -> [rows, code_width]
  auto fields() { return std::tuple{Field{"codebook", codebook}}; }
};

/// What a batch gave.
struct Autoencoded {
  Var loss;  ///< [1]: scale times the sum over rows of mean squared error + codebook + commitment loss
  Tensor pixel_error;  ///< f32 [rows]: squared error of the pixels, summed over a patch
  Quantised quantised;
};

/// Pixels are numbers from -1 (black) to 1.
struct ImageAutoencoder {
  ImageAutoencoderConfig config;
  PatchTransformer encoder;
  Sharded<Quantiser> quantiser;
  PatchTransformer decoder;

  explicit ImageAutoencoder(
      const ImageAutoencoderConfig& config);  ///< throws Error when the config does not fit
  /// patches [rows, patch_values] f32.  The losses are means over pixel values and over the numbers of a code.
  Autoencoded operator()(const Tensor& patches, const PatchRows& rows, float scale);
  Tensor encode(const Tensor& patches, const PatchRows& rows);  ///< i32 [rows]
  Tensor decode(const Tensor& codes, const PatchRows& rows);    ///< [rows, patch_values]
  auto fields() {
    return std::tuple{Field{"encoder", encoder}, Field{"quantiser", quantiser}, Field{"decoder", decoder}};
  }
};

}  // namespace tessera
