#include "launch/evaluate.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "data/loader.h"
#include "data/ngram.h"
#include "launch/engines.h"
#include "launch/learned_tokenizer.h"
#include "launch/process.h"
#include "launch/progress.h"
#include "launch/rows.h"
#include "launch/statistics.h"
#include "launch/trained_model.h"
#include "parallel/checkpoint.h"

namespace tessera {
namespace {

/// Classes of targets that are counted apart.
enum Part : size_t { kText, kImage, kImagePlain, kParts };
constexpr const char* kPartNames[kParts] = {"text", "image", "image_plain"};
constexpr size_t kColumns = 2 * kParts + 2;

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

/// Per part: sum of nats and number of targets; then rows and their forward floating-point operations.
std::vector<double> score(TrainedModel& trained, Stream stream, const Batch& batch,
                          const Vocabulary& vocabulary, const std::vector<uint8_t>& plain) {
  const Rows rows = rows_of(batch, stream);
  const Loss loss = cross_entropy(trained.model()(rows), batch.targets.to(stream), 1.0f, 0.0f);
  std::vector<double> sums(kColumns, 0.0);
  const ModelConfig& config = trained.config().model;
  sums[2 * kParts] = static_cast<double>(batch.tokens.count());
  sums[2 * kParts + 1] = static_cast<double>(forward_flops(config, flop_inputs(rows, config)));
  const std::span<const int32_t> targets = batch.targets.values<int32_t>();
  const std::vector<float> nll = loss.nll.to_vector<float>();
  for (size_t row = 0; row < targets.size(); ++row) {
    if (targets[row] < 0) continue;
    size_t part = kText;
    if (vocabulary.modality_of(targets[row]) == Modality::image)
      part = plain[static_cast<size_t>(targets[row] - Vocabulary::kFirstImage)] ? kImagePlain : kImage;
    sums[2 * part] += nll[row];
    sums[2 * part + 1] += 1;
  }
  return sums;
}

bool routes_by_batch(const ModelConfig& model) {
  for (const std::string& name : model.feed_forward)
    for (const ExpertGroup& group : parse_feed_forward(name))
      if (group.routed()) return true;
  return false;
}

Json result_of(const TrainedModel& trained, const std::string& checkpoint, const std::vector<double>& sums,
               const NgramScores& baseline) {
  const ModelConfig& model = trained.config().model;
  int64_t parameters = 0;
  for (const auto& [part, count] : parameter_counts(model)) parameters += count;
  Json result{{"checkpoint", checkpoint},
              {"step", trained.step()},
              {"routing", routes_by_batch(model) ? "batch" : "none"}};
  const NgramScore* scores[kParts] = {&baseline.text, &baseline.image_other, &baseline.image_plain};
  for (size_t part = 0; part < kParts; ++part) {
    const double tokens = sums[2 * part + 1];
    TESSERA_CHECK(static_cast<int64_t>(tokens) == scores[part]->tokens, "evaluate: the model scored ", tokens,
                  " ", kPartNames[part], " targets, the baselines ", scores[part]->tokens);
    result[kPartNames[part]] = {{"tokens", scores[part]->tokens},
                                {"nats", tokens > 0 ? Json(sums[2 * part] / tokens) : Json()},
                                {"unigram", scores[part]->unigram()},
                                {"bigram", scores[part]->bigram()}};
  }
  result["parameters"] = parameters;
  result["forward_flops_per_token"] = sums[2 * kParts] > 0 ? sums[2 * kParts + 1] / sums[2 * kParts] : 0;
  return result;
}

void print(const Json& result) {
  std::printf("%s, step %s\n%-26s %10s %9s %9s %9s\n", result["checkpoint"].get<std::string>().c_str(),
              result["step"].dump().c_str(), "held-out nats per token", "tokens", "model", "unigram",
              "bigram");
  for (const char* part : kPartNames) {
    const Json& row = result[part];
    if (row["tokens"] == 0) continue;
    std::printf("%-26s %10s %9.3f %9.3f %9.3f\n", part, row["tokens"].dump().c_str(),
                row["nats"].get<double>(), row["unigram"].get<double>(), row["bigram"].get<double>());
  }
  if (result["routing"] == "batch")
    std::printf("experts chose among the tokens of a micro-batch: these losses leak the future\n");
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
