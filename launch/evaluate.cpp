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
#include "launch/prediction_counts.h"
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
constexpr size_t kSums = 2 * kParts;  ///< of one way to route: nats and targets of each part

/// Ways to route; the causal ones by the names that the result has.
enum Way : size_t { kByRank, kByThreshold, kByPrediction, kWays };
constexpr const char* kWayNames[kWays] = {"batch", "thresholds", "auxiliary_routers"};

/// The ways that a model has, the first one always.
std::vector<Way> ways_of(const TrainedModel& trained) {
  std::vector<Way> ways{kByRank};
  if (!trained.config().model.routes_by_rank()) return ways;
  if (!trained.thresholds().empty()) ways.push_back(kByThreshold);
  if (trained.config().model.auxiliary_routers) ways.push_back(kByPrediction);
  return ways;
}

/// What is counted of a micro-batch: sums by way, rows, floating-point operations, and counts of each auxiliary router.
class Columns {
 public:
  explicit Columns(const ModelConfig& model) {
    if (model.auxiliary_routers) routers_ = router_names(model);
  }
  const std::vector<std::string>& routers() const { return routers_; }
  size_t way(Way way) const { return way * kSums; }
  size_t rows() const { return kWays * kSums; }
  size_t flops() const { return rows() + 1; }
  size_t router(size_t number) const { return flops() + 1 + number * PredictionCounts::kCounts; }
  size_t count() const { return router(routers_.size()); }

 private:
  std::vector<std::string> routers_;
};

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
void score(TrainedModel& trained, const Rows& rows, const Batch& batch,
           const std::vector<std::vector<Part>>& parts, std::span<double> sums) {
  Transformer& model = trained.model();
  const Loss loss = model.loss(model.hidden(rows), batch.targets.to(rows.tokens.stream()), 1.0f, 0.0f);
  const std::vector<float> nll = loss.nll.to_vector<float>();
  for (size_t row = 0; row < parts.size(); ++row)
    for (Part part : parts[row]) {
      sums[2 * part] += nll[row];
      sums[2 * part + 1] += 1;
    }
}

/// The columns of a leaf.
std::vector<double> score(TrainedModel& trained, const Columns& columns, Stream stream, const Batch& batch,
                          const Vocabulary& vocabulary, const std::vector<uint8_t>& plain) {
  const ModelConfig& config = trained.config().model;
  const std::vector<std::vector<Part>> parts = parts_of(batch, vocabulary, plain);
  std::vector<double> sums(columns.count(), 0.0);
  for (Way way : ways_of(trained)) {
    Rows rows = rows_of(batch, stream);
    Routings routings;
    if (way == kByRank) rows.record = &routings;
    if (way == kByThreshold) rows.thresholds = &trained.thresholds();
    rows.by_prediction = way == kByPrediction;
    score(trained, rows, batch, parts, std::span(sums).subspan(columns.way(way), kSums));
    if (way != kByRank) continue;
    sums[columns.rows()] = static_cast<double>(batch.tokens.count());
    sums[columns.flops()] = static_cast<double>(forward_flops(config, flop_inputs(rows, config, routings)));
    for (size_t router = 0; router < columns.routers().size(); ++router) {
      const Prediction& prediction = routings.predictions.at(columns.routers()[router]);
      std::ranges::copy(count_prediction(prediction).counts,
                        sums.begin() + static_cast<int64_t>(columns.router(router)));
    }
  }
  return sums;
}

/// {"tokens", "nats", "perplexity"}; nats of a part without targets are null.
Json part_result(std::span<const double> sums, size_t part) {
  const double tokens = sums[2 * part + 1];
  const double nats = sums[2 * part] / tokens;
  return {{"tokens", static_cast<int64_t>(tokens)},
          {"nats", tokens > 0 ? Json(nats) : Json()},
          {"perplexity", tokens > 0 ? Json(std::exp(nats)) : Json()}};
}

Json optional_number(const std::optional<double>& number) { return number ? Json(*number) : Json(); }

/// Of each auxiliary router that had candidates.
Json router_results(const Columns& columns, std::span<const double> sums) {
  Json result = Json::object();
  for (size_t router = 0; router < columns.routers().size(); ++router) {
    PredictionCounts counted;
    std::ranges::copy(sums.subspan(columns.router(router), PredictionCounts::kCounts),
                      counted.counts.begin());
    if (counted.counts[PredictionCounts::kPairs] == 0) continue;
    result[columns.routers()[router]] = {{"accuracy", counted.accuracy()},
                                         {"precision", optional_number(counted.precision())},
                                         {"recall", optional_number(counted.recall())},
                                         {"taken", counted.taken()},
                                         {"nats", counted.loss()}};
  }
  return result;
}

Json result_of(const TrainedModel& trained, const std::string& checkpoint, const Columns& columns,
               std::span<const double> sums, const NgramScores& baseline) {
  const ModelConfig& model = trained.config().model;
  int64_t parameters = 0;
  for (const auto& [part, count] : parameter_counts(model)) parameters += count;
  Json result{{"checkpoint", checkpoint},
              {"step", trained.step()},
              {"routing", model.routes_by_rank() ? kWayNames[kByRank] : "none"}};
  const std::span<const double> by_rank = sums.subspan(columns.way(kByRank), kSums);
  const NgramScore* scores[kBaselineParts] = {&baseline.text, &baseline.image_other, &baseline.image_plain};
  for (size_t part = 0; part < kParts; ++part) {
    Json& row = result[kPartNames[part]] = part_result(by_rank, part);
    if (part >= kBaselineParts) continue;
    TESSERA_CHECK(row["tokens"] == scores[part]->tokens, "evaluate: the model scored ", row["tokens"], " ",
                  kPartNames[part], " targets, the baselines ", scores[part]->tokens);
    row["unigram"] = scores[part]->unigram();
    row["bigram"] = scores[part]->bigram();
  }
  for (Way way : ways_of(trained)) {
    if (way == kByRank) continue;
    const std::span<const double> causal = sums.subspan(columns.way(way), kSums);
    for (size_t part = 0; part < kParts; ++part) {
      Json& row = result["causal"][kWayNames[way]][kPartNames[part]] = part_result(causal, part);
      row["leak_bits"] =
          row["nats"].is_null()
              ? Json()
              : Json((causal[2 * part] - by_rank[2 * part]) / by_rank[2 * part + 1] / std::log(2.0));
    }
  }
  if (!columns.routers().empty()) result["auxiliary_routers"] = router_results(columns, sums);
  result["parameters"] = parameters;
  const double rows = sums[columns.rows()];
  result["forward_flops_per_token"] = rows > 0 ? sums[columns.flops()] / rows : 0;
  return result;
}

std::string three_digits(const Json& json) { return json.is_null() ? "-" : format_fixed(json, 3); }

/// A line: what it is about, a first number as it is, and others with three digits.
void print_row(const std::string& name, const std::string& first, const Json& row,
               std::initializer_list<const char*> keys) {
  std::printf("%-26s %10s", name.c_str(), first.c_str());
  for (const char* key : keys) std::printf(" %10s", three_digits(row.value(key, Json())).c_str());
  std::printf("\n");
}

/// One line per part that has tokens.
void print_parts(const Json& parts, std::initializer_list<const char*> keys) {
  for (const char* part : kPartNames)
    if (const Json& row = parts[part]; row["tokens"] != 0) print_row(part, row["tokens"].dump(), row, keys);
}

void print(const Json& result) {
  std::printf("%s, step %s\n%-26s %10s %10s %10s %10s %10s\n",
              result["checkpoint"].get<std::string>().c_str(), result["step"].dump().c_str(),
              "held-out nats per token", "tokens", "model", "perplexity", "unigram", "bigram");
  print_parts(result, {"nats", "perplexity", "unigram", "bigram"});
  if (result["routing"] == "none") return;
  std::printf("model: routers chose among the tokens of a micro-batch, which leaks the future\n");
  const Json ways = result.value("causal", Json::object());
  for (const auto& [way, causal] : ways.items()) {
    std::printf("\n%-26s %10s %10s %10s %10s\n", ("causal, by " + way).c_str(), "tokens", "model",
                "perplexity", "leak, bits");
    print_parts(causal, {"nats", "perplexity", "leak_bits"});
  }
  if (!result.contains("auxiliary_routers")) return;
  std::printf("\n%-26s %10s %10s %10s %10s\n", "auxiliary router", "taken", "accuracy", "precision",
              "recall");
  for (const auto& [router, row] : result["auxiliary_routers"].items())
    print_row(router, three_digits(row["taken"]), row, {"accuracy", "precision", "recall"});
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
  const Columns columns(config.model);
  std::vector<std::vector<double>> sums;
  for (int64_t first = 0; first < leaves; first += world.size()) {
    const int64_t leaf = first + world.rank();
    if (leaf < leaves) {
      const Batch batch = read_batch(*dataset, batches[static_cast<size_t>(leaf)],
                                     config.loader.attend_across_documents, engines.host());
      sums.push_back(score(*trained, columns, engines.stream(), batch, dataset->vocabulary(), plain));
    } else {
      for (size_t pass = ways_of(*trained).size(); pass > 0; --pass) trained->shards().idle_forward();
    }
    if (progress) progress->update(std::min(leaves, first + world.size()), "");
  }
  const std::vector<double> totals = sum_over_leaves(sums, leaves, columns.count(), trained->shards().mesh());

  agree(world, [&] {
    if (world.rank() != 0) return;
    if (progress) progress->clear();
    std::vector<UnitRef> units;
    for (const std::vector<UnitRef>& batch : batches) units.insert(units.end(), batch.begin(), batch.end());
    const NgramBaseline baseline(TokenDataset(dataset->folder(), "train"));
    const Json result =
        result_of(*trained, *checkpoint, columns, totals, baseline.score(*dataset, units, plain));
    write_json(options.run + "/evaluation.json", result);
    print(result);
  });
  return kExitSuccess;
}

}  // namespace tessera
