#include "tests/support/autoencoder_reference.h"

namespace tessera::reference {
namespace {

/// Parameters below a path, and the sizes of a batch.
struct Part {
  const ImageAutoencoderConfig& config;
  const Parameters& parameters;
  std::string path;
  int64_t rows;

  const Values& at(const std::string& name) const { return parameters.at(path + name); }
  Values product(const Values& x, const std::string& weight) const {
    const int64_t in = std::ssize(x) / rows, out = std::ssize(at(weight)) / in;
    return matmul(x, at(weight), std::vector<int64_t>{0, rows}, in, out);
  }
  Values normed(const Values& x, const std::string& weight) const {
    return rms_norm(x, at(weight), static_cast<double>(config.epsilon));
  }
  Part below(const std::string& name) const { return {config, parameters, path + name, rows}; }
};

std::vector<int64_t> segments(const Part& part) {
  std::vector<int64_t> offsets;
  for (int64_t row = 0; row <= part.rows; row += part.config.patches()) offsets.push_back(row);
  return offsets;
}

Values attend(const Part& part, const Values& x) {
  const int64_t heads = part.config.heads / 2, head_dim = part.config.width / part.config.heads;
  const Values y = attention(part.product(x, "wq"), part.product(x, "wk"), part.product(x, "wv"),
                             segments(part), heads, head_dim);
  return part.product(y, "wo");
}

Values block(const Part& part, const Values& x) {
  std::vector<int32_t> reverse;
  const int64_t patches = part.config.patches();
  for (int64_t row = 0; row < part.rows; ++row)
    reverse.push_back(static_cast<int32_t>(row / patches * patches + patches - 1 - row % patches));
  const Values in = part.normed(x, "attention.norm");
  const Values back = attend(part.below("attention.backward."), gather(in, reverse, part.config.width));
  const Values seen =
      add(add(x, attend(part.below("attention.onward."), in)), gather(back, reverse, part.config.width));
  const Values again = part.normed(seen, "feed_forward.norm");
  return add(seen, part.product(swiglu(part.product(again, "feed_forward.gate"),
                                       part.product(again, "feed_forward.up")),
                                "feed_forward.down"));
}

Values transformer(const Part& part, const Values& x) {
  std::vector<int32_t> places;
  for (int64_t row = 0; row < part.rows; ++row)
    places.push_back(static_cast<int32_t>(row % part.config.patches()));
  Values y =
      add(part.product(x, "input.weight"), embedding(places, part.at("input.position"), part.config.width));
  for (int64_t i = 0; i < part.config.blocks; ++i) y = block(part.below(str("blocks.", i, ".")), y);
  return part.product(part.normed(y, "output.norm"), "output.weight");
}

Values unit_length(const Values& x, int64_t width) {
  const Values weight(static_cast<size_t>(width), 1 / std::sqrt(static_cast<double>(width)));
  return rms_norm(x, weight, 1e-12);
}

double distance(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

struct Ends {
  Values encoded, quantised;
};
Ends ends(const Part& model, const Values& patches, const std::vector<int32_t>& codes) {
  const int64_t width = model.config.code_width;
  return {unit_length(transformer(model.below("encoder."), patches), width),
          embedding(codes, unit_length(model.at("quantiser.codebook"), width), width)};
}

Part model_of(const ImageAutoencoderConfig& config, const Parameters& parameters, const Values& patches) {
  return {config, parameters, "", std::ssize(patches) / config.patch_values()};
}

}  // namespace

Assignment assignment_of(const ImageAutoencoderConfig& config, const Parameters& parameters,
                         const Values& patches, std::vector<int32_t> codes) {
  Ends fixed = ends(model_of(config, parameters, patches), patches, codes);
  return {std::move(codes), std::move(fixed.encoded), std::move(fixed.quantised)};
}

double loss(const ImageAutoencoderConfig& config, const Parameters& parameters, const Values& patches,
            const Assignment& assignment, double scale) {
  const Part model = model_of(config, parameters, patches);
  const Ends now = ends(model, patches, assignment.codes);
  Values read = now.encoded;
  for (size_t i = 0; i < read.size(); ++i) read[i] += assignment.quantised[i] - assignment.encoded[i];
  const double pixels = distance(transformer(model.below("decoder."), read), patches);
  const double codes = distance(now.quantised, assignment.encoded) +
                       static_cast<double>(config.commitment) * distance(now.encoded, assignment.quantised);
  return scale * (pixels / static_cast<double>(config.patch_values()) +
                  codes / static_cast<double>(config.code_width));
}

}  // namespace tessera::reference
