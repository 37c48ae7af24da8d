// The commands around checkpoints and failures.

#include <csignal>

#include "launch/metrics.h"
#include "parallel/checkpoint.h"
#include "parallel/safetensors.h"
#include "tests/launch/cli.h"
#include "tests/support/run_results.h"

namespace tessera {
namespace {

TEST_F(CliTest, MetricsTellWhatSavesTook) {
  train({"steps=12", "save_every=3"});
  int64_t saves = 0;
  for (const MetricsLine& line : read_metrics(out_ + "/metrics.jsonl")) {
    const Json &held = line.json["save_held_seconds"], &seconds = line.json["save_seconds"];
    EXPECT_EQ(held.is_null(), seconds.is_null());
    if (held.is_null()) continue;
    ++saves;
    EXPECT_GT(held, 0);
    EXPECT_LE(held, seconds);
  }
  EXPECT_GE(saves, 2);  // those after 3 and 6 steps; the one after 9 may be published with the last
  EXPECT_LE(saves, 3);
}

class CliExportTest : public CliTest {
 protected:
  /// What a run begins with when it takes a file: a step of rate 0 changes nothing.
  std::map<std::string, std::vector<float>> imported(const std::string& file, const Words& more = {}) const {
    const std::string out = folder_ / "imported";
    std::filesystem::remove_all(out);
    train(Words{"out=" + out, "init_from=" + file, "steps=1", "schedule.kind=constant", "schedule.peak=0",
                "schedule.warmup=0"} +
          more);
    auto bits = checkpoint_bits(latest_checkpoint(out).value());
    std::erase_if(bits, [](const auto& entry) { return !entry.first.starts_with("/parameters/"); });
    return bits;
  }
  std::map<std::string, std::vector<float>> exported_bits() const {
    auto bits = checkpoint_bits(latest_checkpoint(out_).value());
    std::erase_if(bits, [](const auto& entry) { return !entry.first.starts_with("/parameters/"); });
    return bits;
  }

  const std::string file_ = folder_ / "model.safetensors";
};

TEST_F(CliExportTest, ARunBeginsWithWhatAnotherExported) {
  train({"thread_ranks=2"});
  expect_success(tessera_words({"export-safetensors", out_, file_}));
  const auto bits = exported_bits();
  EXPECT_EQ(imported(file_), bits);
  EXPECT_EQ(imported(file_, {"thread_ranks=3"}), bits);
  const Safetensors file(file_);
  EXPECT_EQ(file.metadata().at("tessera.step"), "4");
  EXPECT_EQ(Json::parse(file.metadata().at("tessera.state"))["config"]["model"]["width"], 16);
  EXPECT_EQ(file.tensors().at("embedding.weight").shape, (std::vector<int64_t>{64, 16}));

  const std::string again = folder_ / "again.safetensors";
  expect_success(tessera_words({"export-safetensors", folder_ / "imported/step_00000001", again}));
  Safetensors first(file_), second(again);
  for (const auto& [name, entry] : first.tensors()) {
    std::vector<float> a(static_cast<size_t>(entry.count())), b(a.size());
    first.read(name, 0, a);
    second.read(name, 0, b);
    EXPECT_EQ(a, b) << name;
  }
}

TEST_F(CliExportTest, HalvesAreRounded) {
  train();
  expect_success(tessera_words({"export-safetensors", out_, file_, "--dtype", "bf16"}));
  auto bits = exported_bits();
  for (auto& [name, values] : bits)
    for (float& value : values) value = static_cast<float>(bf16(value));
  EXPECT_EQ(imported(file_), bits);
}

TEST_F(CliExportTest, RefusesWhatDoesNotFit) {
  train();
  expect_success(tessera_words({"export-safetensors", out_, file_}));
  const std::string elsewhere = "out=" + folder_ / "elsewhere";
  const auto refuses = [&](const Words& more, const Words& parts) {
    expect_success({"mkdir", "-p", folder_ / "elsewhere"});  // which a refused run makes too
    expect_refusal(train_words(Words{elsewhere, "init_from=" + file_} + more), 1, parts);
  };
  refuses({"model.hidden=32"}, {file_, "blocks.0.feed_forward.", ",24] there, [", ",32] in this model"});
  refuses({"model.layers=2"}, {file_, "blocks.1.attention", "of this model is missing there"});
  refuses({"model.feed_forward=[\"dense\"]"}, {file_, "blocks.0.feed_forward"});
  write_file(file_, bytes_of_file(file_).substr(0, 5000));
  refuses({}, {file_, "of the data, the file has"});
  const std::string shard = out_ + "/step_00000004/rank_00000.h5";
  write_file(shard, bytes_of_file(shard).substr(0, 2000));
  expect_refusal(tessera_words({"export-safetensors", out_, folder_ / "none"}), 1, {shard, "should have"});
  expect_refusal(tessera_words({"export-safetensors", data_, folder_ / "none"}), 1,
                 {data_, "neither is a checkpoint nor holds one"});
}

/// Commands of a shell that count their starts.
class CliSuperviseTest : public CliTest {
 protected:
  Words supervised(const std::string& script, const Words& options = {}) const {
    return tessera_words({"supervise", "--backoff", "0.01"}) + options +
           Words{"--", "sh", "-c", "echo >> " + starts_ + "; " + script};
  }
  void expect_end(const Words& words, int code, int64_t starts) const {
    std::filesystem::remove(starts_);
    const CommandResult result = run_command(words);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_EQ(std::ssize(bytes_of_file(starts_)), starts) << result.err;
  }
  const std::string starts_ = folder_ / "starts";
};

TEST_F(CliSuperviseTest, StartsAgainWhatCrashes) {
  const std::string times = "[ $(wc -l < " + starts_ + ") -gt ";
  expect_end(supervised(times + "2 ] || kill -9 $$"), 0, 3);
  expect_end(supervised(times + "4 ] || exit 85", {"--restarts", "0"}), 0, 5);  // asked for: no crash
  expect_end(supervised("exit 137", {"--restarts", "3"}), 137, 4);
  for (int final : {0, 1, 2, 87}) expect_end(supervised(str("exit ", final)), final, 1);
  expect_end(supervised("exit 137", {"--restarts", "0"}), 137, 1);
  // Long enough without a crash: each is the first in a row.
  expect_end(supervised("sleep 0.05; " + times + "4 ] || exit 139", {"--restarts", "1", "--steady", "0.01"}),
             0, 5);
}

TEST_F(CliSuperviseTest, PassesSignalsOnAndStopsThen) {
  for (int number : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) {
    std::filesystem::remove(starts_);
    Command command(supervised(
        str("trap 'exit 85' ", number, "; echo >> ", starts_, "; while true; do sleep 0.02; done")));
    EXPECT_TRUE(command.wait_until([&] { return bytes_of_file(starts_).size() == 2; }));
    command.signal(number);
    EXPECT_EQ(command.wait().code, 85);
    EXPECT_EQ(bytes_of_file(starts_).size(), 2u);
  }
}

TEST_F(CliSuperviseTest, RefusesWhatItCannotStart) {
  expect_refusal(tessera_words({"supervise", "--", folder_ / "none"}), 1,
                 {folder_ / "none" + " cannot be started: No such file or directory"});
}

}  // namespace
}  // namespace tessera
