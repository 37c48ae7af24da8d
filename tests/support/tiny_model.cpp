#include "tests/support/tiny_model.h"

#include "runtime/random.h"

namespace tessera {
namespace {

constexpr int kVocab = 23, kFirstImage = 4, kImages = 8;

int32_t draw_token(Modalities modalities, uint64_t index) {
  const auto image = static_cast<int32_t>(kFirstImage + random_below(1, Purpose("image"), index, kImages));
  const auto text = static_cast<int32_t>(
      kFirstImage + kImages + random_below(1, Purpose("text"), index, kVocab - kFirstImage - kImages));
  if (modalities == Modalities::both) return random_below(1, Purpose("modality"), index, 2) ? image : text;
  return modalities == Modalities::image ? image : text;
}

Candidates candidates(const std::vector<int32_t>& index, const std::vector<int64_t>& units, Stream stream) {
  Candidates result{Tensor::from(index, {std::ssize(index)}, stream), {}};
  for (int64_t unit : units)
    result.units.push_back(std::lower_bound(index.begin(), index.end(), unit) - index.begin());
  return result;
}

/// Overwrites the initial values of all shards.
void set_values(const Shards& shards, DType compute, float deviation, bool tied_experts) {
  std::map<std::string, uint64_t> drawn;  // the experts of all groups of a layer draw from one sequence
  for (const ShardPiece& piece : shards.pieces()) {
    const Parameter& parameter = *piece.parameter;
    std::string name = parameter.name;
    const size_t experts = name.find(".experts.");
    if (experts != std::string::npos) name.erase(experts, name.rfind('.') - experts);
    const Purpose purpose("tiny " + name);
    const auto count = static_cast<uint64_t>(parameter.shape.count());
    const uint64_t period = tied_experts && parameter.by_expert
                                ? count / static_cast<uint64_t>(parameter.shape[0])
                                : ~uint64_t{0};
    uint64_t& index = drawn[name];
    std::vector<float> values(count);
    for (float& value : values) {
      value = (parameter.init == Init::ones ? 1 : 0) +
              deviation * static_cast<float>(random_normal(1, purpose, index++ % period));
      if (compute == DType::bf16) value = static_cast<float>(bf16(value));
    }
    piece.value.assign(std::span<const float>(values));
  }
}

/// For a replay, on rows that the depth routers leave as many as they take.
Routings routings_of(const reference::ModelRouting& from, int64_t rows, Stream stream) {
  Routings to;
  for (const auto& [layer, index] : from.depths)
    to.depths[layer].chosen.routing =
        make_routing(Tensor::from(index, {std::ssize(index)}, stream), {0, std::ssize(index)}, rows);
  for (const auto& [layer, slots] : from.experts) {
    const auto depth = from.depths.find(layer);
    to.experts[layer].routing =
        make_routing(Tensor::from(slots.index, {std::ssize(slots.index)}, stream), slots.offsets,
                     depth == from.depths.end() ? rows : std::ssize(depth->second));
  }
  return to;
}

Values widened(const Tensor& tensor) {
  const std::vector<float> values = tensor.to_vector<float>();
  return {values.begin(), values.end()};
}

}  // namespace

ModelConfig tiny_config(std::vector<std::string> feed_forward) {
  ModelConfig config;
  config.vocab = kVocab;
  config.width = 16;
  config.layers = 2;
  config.heads = 2;
  config.hidden = 24;
  config.deviation = 0.25f;
  config.feed_forward = std::move(feed_forward);
  return config;
}

TinyRows tiny_rows(const std::vector<std::vector<int64_t>>& documents, Modalities modalities, Stream stream,
                   int64_t padding) {
  TinyRows tiny;
  reference::ModelInputs& host = tiny.host;
  tiny.units = host.segments = {0};
  const auto append = [&](int64_t length, bool is_padding) {
    for (int64_t i = 0; i < length; ++i) {
      const auto row = static_cast<uint64_t>(host.tokens.size());
      host.tokens.push_back(is_padding ? 0 : draw_token(modalities, row));
      host.positions.push_back(static_cast<int32_t>(i));
      host.targets.push_back(is_padding || i + 1 == length ? -1 : draw_token(modalities, row + 1));
    }
    if (length > 0) host.segments.push_back(std::ssize(host.tokens));
  };
  for (const std::vector<int64_t>& unit : documents) {
    for (int64_t length : unit) append(length, false);
    append(padding, true);
    tiny.units.push_back(std::ssize(host.tokens));
  }
  host.scale = 1 / 16.0;
  host.z_loss = 1 / 64.0;
  tiny.rows.tokens = Tensor::empty({0}, DType::i32, stream);
  const std::vector<int32_t> tokens = host.tokens;
  return with_tokens(std::move(tiny), tokens);
}

TinyRows with_tokens(TinyRows tiny, std::vector<int32_t> tokens) {
  const Stream stream = tiny.rows.tokens.stream();
  reference::ModelInputs& host = tiny.host;
  host.tokens = std::move(tokens);
  host.modalities.clear();
  std::vector<int32_t> text, image, all;
  for (int32_t row = 0; row < std::ssize(host.tokens); ++row) {
    const int32_t token = host.tokens[static_cast<size_t>(row)];
    const bool is_image = token < kFirstImage + kImages;
    host.modalities.push_back(token == 0 ? -1 : is_image);
    if (token == 0) continue;
    (is_image ? image : text).push_back(row);
    all.push_back(row);
  }
  const auto tensor = [&](const std::vector<int32_t>& values) {
    return Tensor::from(values, {std::ssize(values)}, stream);
  };
  tiny.rows.tokens = tensor(host.tokens);
  tiny.rows.positions = tensor(host.positions);
  tiny.rows.segments = host.segments;
  tiny.rows.of_modality = {candidates(text, tiny.units, stream), candidates(image, tiny.units, stream)};
  tiny.rows.all = candidates(all, tiny.units, stream);
  tiny.targets = tensor(host.targets);
  return tiny;
}

void with_tiny_model(const ModelConfig& config, DType compute, Stream stream, const StepOptions& options,
                     const std::function<void(Transformer& model, Shards& shards)>& use) {
  run_ranks(1, [&](Communicator& world) {
    Transformer model(config);
    Shards shards = shard(model, Mesh(world), stream, {compute, true}, 1, config.deviation);
    set_values(shards, compute, config.deviation, options.tied_experts);
    shards.invalidate();
    for_each_parameter(model, "", [&](const std::string&, Parameter& parameter) {
      parameter.trained = !options.trains_auxiliary_routers || is_auxiliary(parameter);
    });
    use(model, shards);
  });
}

StepResult run_step(const ModelConfig& config, const TinyRows& tiny, DType compute, Stream stream,
                    StepOptions options) {
  StepResult result;
  with_tiny_model(config, compute, stream, options, [&](Transformer& model, Shards& shards) {
    shards.begin_round(0, 1);
    Rows rows = tiny.rows;
    rows.noise = tiny.host.noise;
    Routings chosen, given;
    rows.record = &chosen;
    if (options.replay) {
      given = routings_of(*options.replay, rows.tokens.count(), stream);
      rows.replay = &given;
    }
    Tape tape;
    const Loss loss = model.loss(model.hidden(rows), tiny.targets, static_cast<float>(tiny.host.scale),
                                 static_cast<float>(tiny.host.z_loss));
    const Var total = options.trains_auxiliary_routers ? prediction_loss(chosen, 1) : loss.total;
    tape.backward(total);
    shards.finish_step();
    result.total = total.value().to_vector<float>()[0];
    result.nll = loss.nll.to_vector<float>();
    for (const ShardPiece& piece : shards.pieces()) {
      result.values[piece.parameter->name] = widened(piece.value);
      result.gradients[piece.parameter->name] = widened(piece.grad);
    }
    for (const auto& [layer, routed] : chosen.experts)
      result.routing.experts[layer] = {routed.routing.index.to_vector<int32_t>(), routed.routing.offsets};
    for (const auto& [layer, depth] : chosen.depths)
      result.routing.depths[layer] = depth.chosen.routing.index.to_vector<int32_t>();
  });
  return result;
}

std::vector<float> tiny_logits(const ModelConfig& config, const TinyRows& tiny, DType compute, Stream stream,
                               StepOptions options) {
  std::vector<float> logits;
  with_tiny_model(config, compute, stream, options, [&](Transformer& model, Shards&) {
    logits = model.head(model.hidden(tiny.rows)).value().to_vector<float>();
  });
  return logits;
}

Roundings model_roundings(const ModelConfig& config, int64_t document) {
  const int64_t width = config.width, head_dim = config.head_dim(), hidden = config.inner(), experts = 4;
  const int64_t norm = width + 7, qk_norm = 2 * head_dim + 9, rope = 5;
  const int64_t attention = width + qk_norm + rope + (head_dim + 2 * document + 8) + width + norm;
  const int64_t router = width + 5, combine = 2 * experts;
  const int64_t feed_forward = width + 7 + hidden + router + combine + norm;
  const int64_t head = norm + width + config.vocab + 12;
  // q (or k), its rotation, attention, wo, norm, sum; gate (or up), swiglu, down, combine, norm, sum; the last norm.
  const int64_t stored = config.layers * (6 + 6) + 1;
  // By norm, wo, attention, rotation, q; norm, combine, down, swiglu, gate (or up), gather; the head and the last norm.  Then the
  // sums over readers: q, k, v and the residual; gate and up; experts, router and the residual.
  const int64_t gradients = config.layers * (5 + 6) + 2, summed = config.layers * (3 + 1 + 2);
  return {.terms = 3 * (config.layers * (attention + feed_forward) + head),
          .bf16_stores = stored + gradients + summed};
}

}  // namespace tessera
