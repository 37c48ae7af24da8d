#include "launch/replay.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "launch/anomaly.h"
#include "launch/config.h"
#include "launch/engines.h"
#include "launch/process.h"
#include "launch/rows.h"
#include "launch/train.h"
#include "parallel/agree.h"
#include "parallel/checkpoint.h"
#include "parallel/safetensors.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// The last checkpoint of a run with at most so many steps done.
std::optional<std::string> checkpoint_before(const std::string& run, int64_t step) {
  std::optional<std::string> before;
  for (const std::string& checkpoint : checkpoints_in(run))
    if (read_checkpoint_manifest(checkpoint)["step"].get<int64_t>() <= step) before = checkpoint;
  return before;
}

/// A folder inside that of the run, for as long as the replay takes.
class Scratch {
 public:
  Scratch(std::string path, Communicator& world) : path_(std::move(path)), world_(world) {
    agree(world_, [&] {
      if (world_.rank() != 0) return;
      fs::remove_all(path_);
      fs::create_directory(path_);
    });
  }
  ~Scratch() {
    std::error_code ignored;  // the folder's name says what it is
    if (world_.rank() == 0) fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Communicator& world_;
};

/// Trains up to the step in scratch; the exit code.  from: the checkpoint to begin with, if any.
int train_up_to(int64_t step, const std::optional<std::string>& from, Config config, const Scratch& scratch,
                Communicator& world) {
  agree(world, [&] {
    if (from && world.rank() == 0)
      fs::create_directory_symlink(fs::absolute(*from),
                                   fs::path(scratch.path()) / fs::path(*from).filename());
  });
  config.out = scratch.path();
  config.stop_at = step;
  config.save_every = config.steps;
  config.resume = true;
  config.trace = false;
  return train(config, world);
}

bool is_finite(const Tensor& tensor) {
  return visit_float(tensor.dtype(), [&]<class T>() {
    return std::ranges::all_of(tensor.to_vector<T>(),
                               [](T value) { return std::isfinite(static_cast<float>(value)); });
  });
}

/// The step itself.
class ReplayedStep {
 public:
  ReplayedStep(const Config& config, const std::optional<std::string>& checkpoint, Engines& engines,
               Communicator& world)
      : config_(config),
        world_(world),
        stream_(engines.stream()),
        host_(engines.host()),
        dataset_(config.data, "train"),
        loader_(dataset_, config.loader, static_cast<uint64_t>(config.seed), host_),
        model_(config.model),
        shards_(shard(model_, Mesh(engines.ranks()), stream_,
                      {config.compute_dtype(), config.reshard_after_forward},
                      static_cast<uint64_t>(config.seed), config.model.deviation)) {
    if (checkpoint)
      load_checkpoint(*checkpoint, {shards_.pieces(), nullptr}, world);
    else if (!config.init_from.empty())
      load_safetensors(config.init_from, shards_.pieces(), world);
  }

  /// What the step gives: "leaves" with what was found in each, and gradient norms.  Collective.
  Json run(int64_t step) {
    const StepPlan plan = loader_.plan(step);
    const Mesh& mesh = shards_.mesh();
    Json mine = Json::array();
    for (int64_t round = 0; round < mesh.rounds(plan.leaves); ++round) {
      shards_.begin_round(round, plan.leaves);
      const std::optional<int64_t> leaf = mesh.leaf(round, plan.leaves);
      const Json found = run_leaf(step, leaf, 1.0f / static_cast<float>(plan.target_count));
      if (leaf) mine.push_back(found);
    }
    shards_.finish_step();
    std::vector<Json> leaves;
    for (const std::string& text : all_gather_strings(world_, mine.dump()))
      for (Json& leaf : Json::parse(text)) leaves.push_back(std::move(leaf));
    std::ranges::sort(leaves, {}, [](const Json& leaf) { return leaf["leaf"].get<int64_t>(); });
    Json norms = Json::object();
    for (const auto& [name, norm] : gradient_norms_by_name(model_, shards_)) norms[name] = json_number(norm);
    return {{"leaves", leaves},
            {"nonfinite_parameters", nonfinite_parameters(model_, shards_, world_)},
            {"gradient_norm", json_number(shards_.gradient_norm())},
            {"gradient_norms", norms}};
  }

 private:
  /// One micro-batch forward and backward; without a leaf the collectives alone.
  Json run_leaf(int64_t step, std::optional<int64_t> leaf, float scale) {
    Batch batch = empty_batch(host_);
    if (leaf)
      batch = read_batch(dataset_, loader_.sampler().micro_batch(step, *leaf),
                         config_.loader.attend_across_documents, host_);
    batch.step = step;
    batch.leaf = leaf.value_or(0);
    Rows rows = rows_of(batch, stream_);
    rows.noise = RouterNoise{static_cast<uint64_t>(config_.seed), step, batch.leaf};
    Json found{{"leaf", batch.leaf}};
    Tape tape;
    const Loss loss = model_.loss(forward(model_.with_rotations(rows), found), batch.targets.to(stream_),
                                  scale, config_.z_loss);
    tape.backward(loss.total);
    found["loss"] = json_number(loss_of_leaf(batch, loss));
    return found;
  }

  /// What the last block leaves, layer by layer; "output" becomes the first layer whose output is not finite.
  Var forward(const Rows& rows, Json& found) {
    const auto look = [&](const std::string& layer, const Var& output) {
      if (!found.contains("output") && !is_finite(output.value())) found["output"] = layer;
      return output;
    };
    Var x = look("embedding", model_.embedding(rows));
    for (size_t i = 0; i < model_.blocks.size(); ++i) {
      Block& block = model_.blocks[i];
      const std::string name = str("blocks.", i);
      if (block.depth) {  // its inside sees some of the rows
        x = look(name, block(x, rows));
        continue;
      }
      x = look(name + ".attention", block.attention(x, rows));
      x = look(name + ".feed_forward",
               std::visit([&](auto& layer) { return layer(x, rows); }, block.feed_forward));
    }
    {
      const Tape::Pause pause;  // the loss forms logits of its own
      look("head", model_.head(x.value()));
    }
    return x;
  }

  const Config& config_;
  Communicator& world_;
  Stream stream_, host_;
  TokenDataset dataset_;
  Loader loader_;
  Transformer model_;
  Shards shards_;
};

void print(const Json& replayed) {
  const auto text = [](const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  };
  for (const Json& name : replayed["nonfinite_parameters"])
    std::printf("not finite before the step: %s\n", text(name).c_str());
  for (const Json& leaf : replayed["leaves"]) {
    std::printf("micro-batch %s: loss %s\n", text(leaf["leaf"]).c_str(), text(leaf["loss"]).c_str());
    if (leaf.contains("output"))
      std::printf("  the first layer whose output is not finite: %s\n", text(leaf["output"]).c_str());
  }
  std::printf("gradient norm %s\n", text(replayed["gradient_norm"]).c_str());
  std::string first;  // backward goes from the last parameter to the first
  for (const auto& [name, norm] : replayed["gradient_norms"].items())
    if (norm.is_string()) first = name;
  if (!first.empty()) std::printf("  the first gradient in backward that is not finite: %s\n", first.c_str());
}

/// The first thing in which the step is not what the report says; empty when it is the same.
std::string difference(const Json& report, const Json& replayed) {
  for (const Json& leaf : replayed["leaves"]) {
    const Json& then = report["leaves"].at(leaf["leaf"].get<size_t>())["loss"];
    if (then != leaf["loss"])
      return str("the loss of micro-batch ", leaf["leaf"], " was ", then, ", is ", leaf["loss"]);
  }
  for (const auto& [name, norm] : replayed["gradient_norms"].items())
    if (report["gradient_norms"].at(name) != norm)
      return str("the gradient norm of ", name, " was ", report["gradient_norms"][name], ", is ", norm);
  return "";
}

}  // namespace

int run_replay(const ReplayOptions& options, Communicator& world) {
  Config config;
  std::optional<std::string> checkpoint;
  int64_t done = 0;
  agree(world, [&] {
    from_json(read_json(options.run + "/config.json"), options.run + "/config.json", config);
    TESSERA_CHECK(options.step < config.steps, "replay: the run has steps 0 to ", config.steps - 1, ", got ",
                  options.step);
    TESSERA_CHECK(config.trained == "model", "replay: ", options.run,
                  " learned auxiliary routers; only steps that train the model can be replayed");
    checkpoint = checkpoint_before(options.run, options.step);
    if (checkpoint) done = read_checkpoint_manifest(*checkpoint)["step"].get<int64_t>();
  });
  config.thread_ranks = 1;
  config.mesh = {};  // the bits are those of any mesh
  config.threads = options.threads;
  const Scratch scratch(str(options.run, "/replay_", options.step), world);
  if (done < options.step) {
    if (const int code = train_up_to(options.step, checkpoint, config, scratch, world)) return code;
    checkpoint = latest_checkpoint(scratch.path());
  }

  Engines engines(world, {config.device, config.threads, config.isa});
  const Json replayed = ReplayedStep(config, checkpoint, engines, world).run(options.step);
  if (world.rank() != 0) return kExitSuccess;
  print(replayed);
  const std::string path = anomaly_path(options.run, options.step);
  if (!fs::exists(path)) return kExitSuccess;
  const std::string differs = difference(read_json(path), replayed);
  std::printf("%s: %s\n", path.c_str(),
              differs.empty() ? "the same losses and gradient norms, bit by bit" : differs.c_str());
  return differs.empty() ? kExitSuccess : kExitError;
}

}  // namespace tessera
