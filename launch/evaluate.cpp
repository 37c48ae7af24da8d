#include "launch/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>

#include "data/loader.h"
#include "data/ngram.h"
#include "launch/engines.h"
#include "launch/format.h"
#include "launch/learned_tokenizer.h"
#include "launch/process.h"
#include "launch/progress.h"
#include "launch/rows.h"
#include "launch/statistics.h"
#include "launch/trained_model.h"
#include "parallel/checkpoint.h"

namespace tessera {
namespace {

/// Classes of targets that are counted apart.  The last three overlap with the first ones.
enum Part : size_t { kText, kImage, kImagePlain, kOverall, kTextGivenImage, kImageGivenText, kParts };
constexpr size_t kBaselineParts = kOverall;
constexpr const char* kPartNames[kParts] = {
    "text", "image", "image_plain", "overall", "text_given_image", "image_given_text"};
constexpr size_t kSums = 2 * kParts;        ///< of one way to route: nats and targets of each part
constexpr size_t kColumns = 2 * kSums + 2;  ///< by rank, by threshold; rows and floating-point operations

/// Micro-batches of the training composition that walk through all units once; the last ones hold what is left.
std::vector<std::vector<UnitRef>> micro_batches(const TokenDataset& dataset, const LoaderConfig& loader,
                                                int64_t limit) {
  const PerKind slots{loader.mixed_units, loader.text_units};
  std::vector<std::vector<UnitRef>> batches;
  for (size_t kind = 0; kind < kUnitKinds; ++kind) {
    int64_t units = slots[kind] > 0 ? dataset.units(static_cast<UnitKind>(kind)) : 0;
    if (limit > 0) units = std::min(units, limit);
    for (int64_t unit = 0; unit < units; ++unit) {
      const auto batch = static_cast<size_t>(unit / slots[kind]);
      if (batch >= batches.size()) batches.resize(batch + 1);
      batches[batch].push_back({static_cast<UnitKind>(kind), unit});
    }
  }
  return batches;
}

/// The parts of each target row; none where the row is not scored.
std::vector<std::vector<Part>> parts_of(const Batch& batch, const Vocabulary& vocabulary,
                                        const std::vector<uint8_t>& plain) {
  const std::span<const int32_t> tokens = batch.tokens.values<int32_t>();
  const std::span<const int32_t> targets = batch.targets.values<int32_t>();
  std::vector<std::vector<Part>> parts(targets.size());
  for (size_t segment = 0; segment + 1 < batch.segments.size(); ++segment) {
    bool text_before = false, image_before = false;
    for (auto row = static_cast<size_t>(batch.segments[segment]);
         row < static_cast<size_t>(batch.segments[segment + 1]); ++row) {
      const bool is_image = vocabulary.modality_of(tokens[row]) == Modality::image;
      image_before |= is_image;
      text_before |= tokens[row] >= vocabulary.first_text();
      if (targets[row] < 0) continue;
      parts[row] = {kOverall};
      if (vocabulary.modality_of(targets[row]) == Modality::image) {
        const bool is_plain = plain[static_cast<size_t>(targets[row] - Vocabulary::kFirstImage)];
        parts[row].push_back(is_plain ? kImagePlain : kImage);
        if (text_before) parts[row].push_back(kImageGivenText);
      } else {
        parts[row].push_back(kText);
        if (image_before) parts[row].push_back(kTextGivenImage);
      }
    }
  }
  return parts;
}

/// One way to route: per part, the sum of nats and the number of targets.
std::vector<double> score(TrainedModel& trained, const Rows& rows, const Batch& batch,
                          const std::vector<std::vector<Part>>& parts) {
  const Loss loss = cross_entropy(trained.model()(rows), batch.targets.to(rows.tokens.stream()), 1.0f, 0.0f);
  const std::vector<float> nll = loss.nll.to_vector<float>();
  std::vector<double> sums(kSums, 0.0);
  for (size_t row = 0; row < parts.size(); ++row)
    for (Part part : parts[row]) {
      sums[2 * part] += nll[row];
      sums[2 * part + 1] += 1;
    }
  return sums;
}

/// A leaf: both ways to route where the model has thresholds, else zeros for the second.
std::vector<double> score(TrainedModel& trained, Stream stream, const Batch& batch,
                          const Vocabulary& vocabulary, const std::vector<uint8_t>& plain) {
  const ModelConfig& config = trained.config().model;
  const std::vector<std::vector<Part>> parts = parts_of(batch, vocabulary, plain);
  Rows rows = rows_of(batch, stream);
  Routings routings;
  rows.record = &routings;
  std::vector<double> sums = score(trained, rows, batch, parts);
  const auto flops = static_cast<double>(forward_flops(config, flop_inputs(rows, config, routings)));
  rows.record = nullptr;
  if (!trained.thresholds().empty()) {
    rows.thresholds = &trained.thresholds();
    const std::vector<double> causal = score(trained, rows, batch, parts);
    sums.insert(sums.end(), causal.begin(), causal.end());
  }
  sums.resize(2 * kSums, 0.0);
  sums.push_back(static_cast<double>(batch.tokens.count()));
  sums.push_back(flops);
  return sums;
}

bool routes_by_batch(const ModelConfig& model) {
  for (int64_t layer = 0; layer < model.layers; ++layer)
    if (model.routes_depth(layer)) return true;
  for (const std::string& name : model.feed_forward)
    for (const ExpertGroup& group : parse_feed_forward(name))
      if (group.routed()) return true;
  return false;
}

/// {"tokens", "nats", "perplexity"}; nats of a part without targets are null.
Json part_result(std::span<const double> sums, size_t part) {
  const double tokens = sums[2 * part + 1];
  const double nats = sums[2 * part] / tokens;
  return {{"tokens", static_cast<int64_t>(tokens)},
          {"nats", tokens > 0 ? Json(nats) : Json()},
          {"perplexity", tokens > 0 ? Json(std::exp(nats)) : Json()}};
}

Json result_of(const TrainedModel& trained, const std::string& checkpoint, const std::vector<double>& sums,
               const NgramScores& baseline) {
  const ModelConfig& model = trained.config().model;
  int64_t parameters = 0;
  for (const auto& [part, count] : parameter_counts(model)) parameters += count;
  const bool leaks = routes_by_batch(model);
  Json result{{"checkpoint", checkpoint}, {"step", trained.step()}, {"routing", leaks ? "batch" : "none"}};
  const std::span<const double> by_rank(sums.data(), kSums), by_threshold(sums.data() + kSums, kSums);
  const NgramScore* scores[kBaselineParts] = {&baseline.text, &baseline.image_other, &baseline.image_plain};
  for (size_t part = 0; part < kParts; ++part) {
    Json& row = result[kPartNames[part]] = part_result(by_rank, part);
    if (part >= kBaselineParts) continue;
    TESSERA_CHECK(row["tokens"] == scores[part]->tokens, "evaluate: the model scored ", row["tokens"], " ",
                  kPartNames[part], " targets, the baselines ", scores[part]->tokens);
    row["unigram"] = scores[part]->unigram();
    row["bigram"] = scores[part]->bigram();
  }
  if (leaks && !trained.thresholds().empty()) {
    for (size_t part = 0; part < kParts; ++part) {
      Json& row = result["causal"][kPartNames[part]] = part_result(by_threshold, part);
      row["leak_bits"] =
          row["nats"].is_null()
              ? Json()
              : Json((by_threshold[2 * part] - by_rank[2 * part]) / by_rank[2 * part + 1] / std::log(2.0));
    }
  }
  result["parameters"] = parameters;
  const double rows = sums[2 * kSums];
  result["forward_flops_per_token"] = rows > 0 ? sums[2 * kSums + 1] / rows : 0;
  return result;
}

void print(const Json& result) {
  const auto number = [](const Json& json) {
    return json.is_null() ? std::string("-") : format_fixed(json, 3);
  };
  const Json causal = result.value("causal", Json::object());
  std::printf("%s, step %s\n%-26s %10s %9s %10s %9s %9s", result["checkpoint"].get<std::string>().c_str(),
              result["step"].dump().c_str(), "held-out nats per token", "tokens", "model", "perplexity",
              "unigram", "bigram");
  std::printf(causal.empty() ? "\n" : " %9s %10s\n", "causal", "leak, bits");
  for (const char* part : kPartNames) {
    const Json& row = result[part];
    if (row["tokens"] == 0) continue;
    std::printf("%-26s %10s %9s %10s %9s %9s", part, row["tokens"].dump().c_str(),
                number(row["nats"]).c_str(), number(row["perplexity"]).c_str(),
                number(row.value("unigram", Json())).c_str(), number(row.value("bigram", Json())).c_str());
    if (!causal.empty())
      std::printf(" %9s %10s", number(causal[part]["nats"]).c_str(),
                  number(causal[part]["leak_bits"]).c_str());
    std::printf("\n");
  }
  if (result["routing"] == "batch")
    std::printf("model: routers chose among the tokens of a micro-batch, which leaks the future%s\n",
                causal.empty() ? "" : "; causal: by the thresholds of training, which does not");
}

}  // namespace

int run_evaluate(const EvaluateOptions& options, Communicator& world) {
  Engines engines(world, {options.device, options.threads, "auto"});
  std::optional<std::string> checkpoint;
  agree(world, [&] {
    checkpoint = latest_checkpoint(options.run);
    TESSERA_CHECK(checkpoint, options.run, ": holds no checkpoint to evaluate");
  });
  std::unique_ptr<TrainedModel> trained =
      std::make_unique<TrainedModel>(*checkpoint, engines.ranks(), engines.stream());
  const Config& config = trained->config();
  std::optional<TokenDataset> dataset;
  std::vector<uint8_t> plain;
  agree(world, [&] {
    dataset.emplace(trained->open_data(options.data, "validation"));
    plain.assign(static_cast<size_t>(dataset->vocabulary().image_codes), 0);
    // Datasets without pictures (synthetic ones) have no tokenizer, so none of their codes is known to be plain.
    if (!image_tokenizer_in(dataset->folder()).empty())
      plain = open_image_tokenizer(dataset->folder())->plain();
  });

  const std::vector<std::vector<UnitRef>> batches = micro_batches(*dataset, config.loader, options.units);
  const auto leaves = static_cast<int64_t>(batches.size());
  std::optional<Progress> progress;
  if (world.rank() == 0 && leaves > 0) progress.emplace("evaluate", leaves);
  std::vector<std::vector<double>> sums;
  for (int64_t first = 0; first < leaves; first += world.size()) {
    const int64_t leaf = first + world.rank();
    if (leaf < leaves) {
      const Batch batch = read_batch(*dataset, batches[static_cast<size_t>(leaf)],
                                     config.loader.attend_across_documents, engines.host());
      sums.push_back(score(*trained, engines.stream(), batch, dataset->vocabulary(), plain));
    } else {
      for (int pass = trained->thresholds().empty() ? 1 : 2; pass > 0; --pass)
        trained->shards().idle_forward();
    }
    if (progress) progress->update(std::min(leaves, first + world.size()), "");
  }
  const std::vector<double> totals = sum_over_leaves(sums, leaves, kColumns, world);

  agree(world, [&] {
    if (world.rank() != 0) return;
    if (progress) progress->clear();
    std::vector<UnitRef> units;
    for (const std::vector<UnitRef>& batch : batches) units.insert(units.end(), batch.begin(), batch.end());
    const NgramBaseline baseline(TokenDataset(dataset->folder(), "train"));
    const Json result = result_of(*trained, *checkpoint, totals, baseline.score(*dataset, units, plain));
    write_json(options.run + "/evaluation.json", result);
    print(result);
  });
  return kExitSuccess;
}

}  // namespace tessera
