// What the program does when all is well, and when it is stopped on the way.

#include <unistd.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <set>

#include "launch/process.h"
#include "launch/run_state.h"
#include "parallel/checkpoint.h"
#include "runtime/hdf5.h"
#include "tests/launch/cli.h"
#include "tests/support/run_results.h"

namespace tessera {
namespace {

class CliRunTest : public CliTest {
 protected:
  /// Every loss, parameter and moment that a run left.
  static auto result(const std::string& run) {
    return std::pair(losses(run), checkpoint_bits(latest_checkpoint(run).value()));
  }
  static Json json_of(const Words& words) {
    const CommandResult result = run_command(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return Json::parse(result.out);
  }
};

TEST_F(CliRunTest, TellsWhatItCanDo) {
  const auto says = [](const Words& arguments, const Words& parts) {
    const CommandResult result = run_command(tessera_words(arguments));
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    for (const std::string& part : parts)
      EXPECT_NE(result.out.find(part), std::string::npos) << "no \"" << part << "\" in\n" << result.out;
  };
  says({"--help"}, {"prepare",
                    "train",
                    "evaluate",
                    "upcycle",
                    "train-routers",
                    "generate",
                    "inspect",
                    "report",
                    "trace",
                    "slurm",
                    "doctor",
                    "version",
                    "export-safetensors",
                    "replay",
                    "supervise",
                    "Exit codes: 0 success; 1 bad input",
                    "2 the command line",
                    "85 stopped by",
                    "87 stopped",
                    "mpirun -n 2"});
  for (const char* command : {"prepare", "train", "evaluate", "upcycle", "train-routers", "generate",
                              "inspect", "report", "trace", "slurm", "doctor"})
    says({command, "--help"}, {command});
  says({"train", "--keys"}, {"model.width = 256 [1, 1048576]", "schedule.peak", "steps between checkpoints"});
  says({"prepare", "--keys"}, {"image_share = 0.5 [0, 1]"});
  says({"version"}, {"tessera ", "compiler ", "backends cpu"});
  says({"doctor", folder_ / ""}, {"ok    folder"});
}

TEST_F(CliRunTest, PrintsAndStoresTheResolvedConfig) {
  const CommandResult result = run_command(train_words({"seed=5", "model.feed_forward=[\"dense\"]"}));
  ASSERT_EQ(result.code, 0) << result.err;
  ASSERT_TRUE(result.out.starts_with("config {")) << result.out;
  const Json printed = Json::parse(result.out.substr(7)), stored = read_json(out_ + "/config.json");
  EXPECT_EQ(printed, stored);
  EXPECT_EQ(stored["seed"], 5);
  EXPECT_EQ(stored["model"]["feed_forward"], Json({"dense"}));
  EXPECT_EQ(stored["adamw"]["beta2"], 0.95);  // a default
}

TEST_F(CliRunTest, InspectsDatasetsShardsCheckpointsAndRuns) {
  train();
  const auto inspect = [&](const std::string& path) {
    return json_of(tessera_words({"inspect", path, "--json"}));
  };
  EXPECT_EQ(inspect(data_)["kind"], "dataset");
  EXPECT_EQ(inspect(data_ + "/train-mixed-00000.h5")["kind"], "shard");
  EXPECT_EQ(inspect(out_ + "/step_00000004")["kind"], "checkpoint");
  const Json run = inspect(out_);
  EXPECT_EQ(run["kind"], "run");
  EXPECT_EQ(run["steps_recorded"], 4);
  EXPECT_EQ(run["checkpoints"], Json({"step_00000004"}));
  const CommandResult text = run_command(tessera_words({"inspect", out_}));
  EXPECT_NE(text.out.find("no problems found"), std::string::npos) << text.out;

  const std::string file = out_ + "/step_00000004/rank_00000.h5";
  write_file(file, bytes_of_file(file).substr(0, 1000));
  const CommandResult damaged = run_command(tessera_words({"inspect", out_ + "/step_00000004"}));
  EXPECT_EQ(damaged.code, 1);
  EXPECT_NE(damaged.out.find("PROBLEM: " + file), std::string::npos) << damaged.out;
}

TEST_F(CliRunTest, TrainsRoutersOnAnyRanks) {
  train();
  const auto words = [&](const std::string& run, const std::string& setting) {
    return tessera_words({"train-routers", out_, "out=" + (folder_ / run), "steps=8", setting});
  };
  expect_success(words("alone", "keep=2"));
  const auto alone = result(folder_ / "alone");
  expect_success(under_mpirun(2, words("processes", "keep=2")));
  EXPECT_EQ(result(folder_ / "processes"), alone);
  expect_success(words("threads", "thread_ranks=3"));
  EXPECT_EQ(result(folder_ / "threads"), alone);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "threads/evaluation.json"));
  expect_refusal(words("alone", "trianed=model"), 1, {"trianed", "did you mean \"trained\""});
}

TEST_F(CliRunTest, EvaluatesAndReports) {
  train();
  const Words evaluate = tessera_words({"evaluate", "--run", out_});
  expect_success(evaluate);
  const std::string alone = bytes_of_file(out_ + "/evaluation.json");
  const Json result = Json::parse(alone);
  EXPECT_EQ(result["step"], 4);
  EXPECT_EQ(result["routing"], "batch");
  for (const char* part : {"text", "image"}) {
    EXPECT_GT(result[part]["tokens"], 0) << part;
    for (const char* model : {"nats", "unigram", "bigram"})
      EXPECT_GT(result[part][model], 0.5) << part << model;
  }
  for (const char* part : {"overall", "text", "image", "text_given_image", "image_given_text"}) {
    const Json &leaking = result[part], &causal = result["causal"]["thresholds"][part];
    EXPECT_EQ(leaking["tokens"], causal["tokens"]) << part;
    EXPECT_NEAR(causal["perplexity"], std::exp(causal["nats"].get<double>()), 1e-6) << part;
    EXPECT_NEAR(causal["leak_bits"],
                (causal["nats"].get<double>() - leaking["nats"].get<double>()) / std::log(2), 1e-9)
        << part;
  }
  EXPECT_LT(result["text_given_image"]["tokens"], result["text"]["tokens"]);
  std::filesystem::remove(out_ + "/evaluation.json");
  expect_success(under_mpirun(2, evaluate));
  EXPECT_EQ(bytes_of_file(out_ + "/evaluation.json"), alone);  // the same bits on two ranks

  expect_success(tessera_words({"report", out_, "--data", data_, "--out", folder_ / "report.html"}));
  const std::string page = bytes_of_file(folder_ / "report.html");
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>") || page.starts_with("<!doctype html>"));
  EXPECT_NE(page.find("</html>"), std::string::npos);
}

TEST_F(CliRunTest, TrainsOnOneKindOfUnits) {
  for (const char* absent : {"loader.mixed_units=0", "loader.text_units=0"}) {
    const std::string out = folder_ / absent;
    train({absent, "out=" + out});
    std::ifstream lines(out + "/metrics.jsonl");
    int64_t steps = 0;
    for (std::string line; std::getline(lines, line); ++steps) {
      const Json metrics = Json::parse(line);
      EXPECT_TRUE(metrics["loss"].is_number()) << line;
      EXPECT_TRUE(metrics["loss_text"].is_number()) << line;
      EXPECT_EQ(metrics["loss_image"].is_number(), std::string(absent) == "loader.text_units=0") << line;
    }
    EXPECT_EQ(steps, 4);
    expect_success(tessera_words({"evaluate", "--run", out}));
  }
}

TEST_F(CliRunTest, CountsThePassesOfWeighedSources) {
  train({R"(loader.source_weights={"synthetic":2})"});
  std::string last;
  std::ifstream lines(out_ + "/metrics.jsonl");
  for (std::string line; std::getline(lines, line);) last = line;
  // Four steps of three micro-batches with one unit of 64 mixed and one of 32 text each.
  EXPECT_EQ(Json::parse(last)["passes"],
            Json({{"mixed/synthetic", 12.0 / 64}, {"text/synthetic", 12.0 / 32}}));
  expect_refusal(train_words({R"(loader.source_weights={"web":1})", "out=" + folder_ / "other"}), 1,
                 {"loader.source_weights: gives no weight to source \"synthetic\" of " + data_});
}

TEST_F(CliRunTest, TracingChangesNothing) {
  const std::string traced = folder_ / "traced";
  train();
  train({"trace=true", "thread_ranks=2", "out=" + traced});
  EXPECT_EQ(result(traced), result(out_));
  const Json split = json_of(tessera_words({"trace", traced, "--json"}));
  ASSERT_EQ(split["ranks"].size(), 2u);
  for (const Json& rank : split["ranks"]) {
    EXPECT_EQ(rank["steps"], 4);
    int64_t sum = 0;
    for (const Json& part : rank["ns"]) sum += part.get<int64_t>();
    EXPECT_EQ(rank["total_ns"], sum);
    for (const char* part : {"compute", "optimizer", "gather", "gradients", "other", "loader", "checkpoint"})
      EXPECT_GT(rank["ns"][part], 0) << part;
  }
  const Json merged = read_json(traced + "/trace.json");
  std::set<std::string> names;
  for (const Json& event : merged["traceEvents"]) names.insert(event["name"]);
  for (const char* name : {"step", "matmul_forward", "read_batch", "collective"})
    EXPECT_TRUE(names.contains(name)) << name;
  expect_refusal(tessera_words({"trace", out_}), 1, {out_ + "/trace_0.json: missing"});
}

/// Micro-batch 0 of the fourth step is all of it here, and with beta1 = 0 the first moments after it are its gradients.
TEST_F(CliRunTest, InspectStepGivesTheGradientsOfTheNextStep) {
  const Words settings{"loader.micro_batches=1", "adamw.beta1=0", "clip=1e12", "z_loss=0", "steps=100"};
  train(settings + Words{"stop_at=3"});
  const std::string checkpoint = out_ + "/step_00000003", path = folder_ / "step.h5";
  expect_success(tessera_words({"inspect", "step", "--checkpoint", checkpoint, "--out", path}));
  train(settings + Words{"stop_at=4"});

  const hdf5::File file = hdf5::File::open(path);
  const auto before = checkpoint_bits(checkpoint), after = checkpoint_bits(out_ + "/step_00000004");
  int64_t compared = 0;
  for (const auto& [name, moments] : after) {
    if (!name.starts_with("/first/")) continue;
    const std::string parameter = name.substr(7);
    EXPECT_EQ(file.read<float>("/gradients/" + parameter), moments) << parameter;
    EXPECT_EQ(file.read<float>("/parameters/" + parameter), before.at("/parameters/" + parameter))
        << parameter;
    ++compared;
  }
  EXPECT_EQ(compared, std::ssize(file.children("/gradients")));
  EXPECT_GT(compared, 10);
  EXPECT_EQ(file.read<float>("/loss")[0], static_cast<float>(losses(out_)[3]));

  const int64_t rows = 2 * 64;
  const std::map<std::string, std::vector<int64_t>> shapes{
      {"/inputs/tokens", {rows}},
      {"/inputs/targets", {rows}},
      {"/inputs/positions", {rows}},
      {"/logits", {rows, 64}},
      {"/nll", {rows}},
      {"/log_sum", {rows}},
      {"/loss", {1}},
      {"/inputs/units", {3}},
      {"/routing/0/offsets", {4}},
      {"/gradients/blocks.0.feed_forward.experts.text.gate", {2, 24, 16}}};
  for (const auto& [name, shape] : shapes) EXPECT_EQ(file.dataset(name).shape(), shape) << name;
  for (const char* name : {"/inputs/segments", "/inputs/rows_text", "/inputs/rows_image", "/routing/0/index",
                           "/routing/0/scores"})
    EXPECT_TRUE(file.exists(name)) << name;
  EXPECT_EQ(file.attribute<int64_t>("/", "step"), 3);
  EXPECT_EQ(Json::parse(file.attribute<std::string>("/", "config")),
            read_checkpoint_manifest(checkpoint)["state"]["config"]);
}

/// Runs of some hundred steps that are stopped on the way and started again.
class CliStopTest : public CliRunTest {
 protected:
  static constexpr int kSteps = 400;
  const Words settings_{"steps=" + std::to_string(kSteps), "save_every=20"};

  /// Starts words and sends number once steps are recorded.
  CommandResult interrupt(const Words& words, int number, int steps) const {
    Command command(words);
    EXPECT_TRUE(command.wait_until([&] { return std::ssize(lines()) >= steps; })) << "ended by itself";
    command.signal(number);
    return command.wait();
  }
  Words lines() const {
    std::ifstream in(out_ + "/metrics.jsonl");
    Words all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }
  void expect_same_as_a_run_that_never_stopped() const {
    const std::string whole = folder_ / "whole";
    if (!std::filesystem::exists(whole)) train(settings_ + Words{"out=" + whole});
    EXPECT_TRUE(result(out_) == result(whole));
    EXPECT_EQ(losses(out_).size(), size_t{kSteps});
  }
};

TEST_F(CliStopTest, ASignalSavesAndTheSameCommandGoesOn) {
  const Words words = train_words(settings_);
  const std::vector<std::pair<Words, int>> cases{{words, SIGTERM},
                                                 {words, SIGINT},
                                                 {under_mpirun(2, words), SIGUSR1},
                                                 {under_mpirun(3, words), SIGUSR2}};
  for (const auto& [way, number] : cases) {
    std::filesystem::remove_all(out_);
    const CommandResult stopped = interrupt(way, number, 1);
    EXPECT_EQ(stopped.code, 85) << stopped.err;
    const Words said = said_lines(stopped.err, way[0] == "mpirun");
    ASSERT_EQ(said.size(), 1u) << stopped.err;
    const int64_t done = read_saved_run(latest_checkpoint(out_).value()).step;
    EXPECT_LT(done, kSteps);
    EXPECT_NE(said[0].find(str("signal ", number, ": saved after ", done, " steps")), std::string::npos)
        << said[0];
    expect_success(way);
    expect_same_as_a_run_that_never_stopped();
  }
}

TEST(StopSignal, TheSameOneAgainEndsTheProcess) {
  const auto twice = [](int first, int second) {
    catch_stop_signals();
    std::raise(first);
    std::raise(first);  // an echo, as launchers send
    ::usleep(1'100'000);
    std::raise(second);
    ::_exit(0);
  };
  EXPECT_EXIT(twice(SIGTERM, SIGTERM), testing::KilledBySignal(SIGTERM), "");
  EXPECT_EXIT(twice(SIGUSR1, SIGTERM), testing::ExitedWithCode(0), "");
}

TEST_F(CliStopTest, AKilledRunGoesOnFromItsLastCheckpoint) {
  const Words words = train_words(settings_);
  // The save after 20 steps is published before the one after 40 begins.
  EXPECT_EQ(interrupt(words, SIGKILL, 45).code, 128 + SIGKILL);
  const int64_t saved = read_saved_run(latest_checkpoint(out_).value()).step;
  EXPECT_LT(saved, kSteps);
  EXPECT_EQ(saved % 20, 0);
  std::ofstream(out_ + "/metrics.jsonl", std::ios::app) << "{\"step\":";  // killed while it wrote
  std::filesystem::create_directory(out_ + "/.step_00000999.making");     // and while it saved
  expect_success(words);
  expect_same_as_a_run_that_never_stopped();
  EXPECT_FALSE(std::filesystem::exists(out_ + "/.step_00000999.making"));
}

}  // namespace
}  // namespace tessera
