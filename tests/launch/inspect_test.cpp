#include "launch/inspect.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "data/synthetic.h"
#include "launch/inspect_parts.h"
#include "launch/metrics.h"
#include "parallel/checkpoint_saver.h"
#include "runtime/cpu_engine.h"
#include "runtime/hdf5.h"
#include "tests/data/temporary_folder.h"

namespace tessera {
namespace {

/// What inspect prints, and its exit code.
struct Inspection {
  int code = 0;
  std::string text;
  Json json() const { return Json::parse(text); }
};

Inspection inspect(const std::string& path, InspectFormat format = InspectFormat::json) {
  std::ostringstream out;
  Inspection inspection;
  inspection.code = run_inspect(path, out, format);
  inspection.text = out.str();
  return inspection;
}

std::string failure_of(const std::string& path) {
  return message_of([&] { inspect(path); });
}

/// Two ranks save "a" [2, 3], cut in the middle, and "b" [2].
std::string save(const TemporaryFolder& folder, float third) {
  run_ranks(2, [&](Communicator& world) {
    CpuEngine engine;
    const Stream stream = engine.stream();
    Parameter a({2, 3}), b({2});
    a.name = "a";
    b.name = "b";
    CheckpointTensors tensors;
    if (world.rank() == 0) {
      tensors.pieces.push_back({.parameter = &a,
                                .begin = 0,
                                .value = Tensor::from(std::vector<float>{1, 2, third, 4}, {4}, stream),
                                .grad = {},
                                .rounded = {}});
    } else {
      tensors.pieces.push_back({.parameter = &a,
                                .begin = 4,
                                .value = Tensor::from(std::vector<float>{5, -6}, {2}, stream),
                                .grad = {},
                                .rounded = {}});
      tensors.pieces.push_back({.parameter = &b,
                                .begin = 0,
                                .value = Tensor::from(std::vector<float>{3, 4}, {2}, stream),
                                .grad = {},
                                .rounded = {}});
    }
    save_checkpoint(folder / "run", 5, tensors, {{"note", "\x1b[31mred"}}, world);
  });
  return latest_checkpoint(folder / "run").value();
}

TEST(Inspect, CheckpointHasShapesAndNorms) {
  const TemporaryFolder folder;
  const Inspection inspection = inspect(save(folder, 3));
  EXPECT_EQ(inspection.code, 0);
  const Json summary = inspection.json();
  EXPECT_EQ(summary["kind"], "checkpoint");
  EXPECT_EQ(summary["step"], 5);
  EXPECT_EQ(summary["values"], 8);
  EXPECT_EQ(summary["files"].size(), 2u);
  ASSERT_EQ(summary["parameters"].size(), 2u);
  EXPECT_EQ(summary["parameters"][0]["parameter"], "a");
  EXPECT_EQ(summary["parameters"][0]["shape"], "[2,3]");
  EXPECT_EQ(summary["parameters"][0]["norm"], std::sqrt(91.0));
  EXPECT_EQ(summary["parameters"][0]["largest"], 6.0);
  EXPECT_EQ(summary["parameters"][1]["norm"], 5.0);
}

TEST(Inspect, CheckpointProblemsAreNamed) {
  const TemporaryFolder folder;
  const std::string checkpoint = save(folder, std::nanf(""));
  Inspection inspection = inspect(checkpoint);
  EXPECT_EQ(inspection.code, 1);
  EXPECT_EQ(inspection.json()["problems"], Json::parse(R"(["a: 1 values are not finite"])"));

  std::string bytes = bytes_of_file(checkpoint + "/rank_00001.h5");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file(checkpoint + "/rank_00001.h5", bytes);
  inspection = inspect(checkpoint);
  EXPECT_EQ(inspection.code, 1);
  ASSERT_EQ(inspection.json()["problems"].size(), 1u);
  EXPECT_NE(inspection.json()["problems"][0].get<std::string>().find("rank_00001.h5 is damaged"),
            std::string::npos);
}

TEST(Inspect, TextIsTidyAndHarmlessToATerminal) {
  const TemporaryFolder folder;
  const std::string text = inspect(save(folder, 3), InspectFormat::text).text;
  EXPECT_NE(text.find("  parameter  shape  count     norm  largest\n"
                      "  a          [2,3]      6  9.53939        6\n"
                      "  b          [2]        2        5        4\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("note: ?[31mred\n"), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_TRUE(text.ends_with("no problems found\n"));
}

TEST(Inspect, DatasetCountsItsTokens) {
  const TemporaryFolder folder;
  const SyntheticOptions options;
  write_synthetic_dataset(folder / "data", 3);
  const Inspection inspection = inspect(folder / "data");
  EXPECT_EQ(inspection.code, 0) << inspection.text;
  const Json train = inspection.json()["splits"]["train"];
  EXPECT_EQ(train["mixed_units"], options.mixed_units);
  int64_t tokens = 0;
  for (const Json& row : train["tokens"]) tokens += row["tokens"].get<int64_t>();
  EXPECT_EQ(tokens, (options.mixed_units + options.text_units) * options.length);
  EXPECT_EQ(train["tokens"][1]["tokens_of"], "image codes");
  EXPECT_EQ(train["tokens"][1]["tokens"],
            options.mixed_units * options.images_per_unit * options.codes_per_image);
  EXPECT_LE(train["tokens"][1]["entropy_nats"].get<double>(), std::log(options.image_codes) + 1e-12);
}

TEST(Inspect, DatasetProblemsAreNamed) {
  const TemporaryFolder folder;
  write_synthetic_dataset(folder / "data", 3);
  Json index = read_json(folder / "data/index.json");
  index["counts"]["train"]["pad_tokens"] = 123456;
  write_json(folder / "data/index.json", index);
  std::filesystem::remove(folder / "data/validation-text-00000.h5");
  const Inspection inspection = inspect(folder / "data");
  EXPECT_EQ(inspection.code, 1);
  const std::string problems = inspection.json()["problems"].dump();
  EXPECT_NE(problems.find("train: index.json says 123456 tokens of padding"), std::string::npos) << problems;
  EXPECT_NE(problems.find("validation-text-00000.h5"), std::string::npos) << problems;
}

TEST(Inspect, ShardHasArraysAndChecksThem) {
  const TemporaryFolder folder;
  write_synthetic_dataset(folder / "data", 3);
  const std::string shard = folder / "data/train-mixed-00000.h5";
  const Inspection inspection = inspect(shard);
  EXPECT_EQ(inspection.code, 0) << inspection.text;
  EXPECT_EQ(inspection.json()["shard_split"], "train");
  EXPECT_EQ(inspection.json()["arrays"].size(), 8u);

  const hdf5::File whole = hdf5::File::open(shard);
  hdf5::File wrong = hdf5::File::create(folder / "wrong.h5");
  for (const char* name : {"schema", "split", "kind", "source", "fingerprint"})
    wrong.set_attribute("/", name, whole.attribute<std::string>("/", name));
  for (const char* name :
       {"version", "length", "codes_per_image", "images_per_unit", "image_codes", "text_pieces"})
    wrong.set_attribute("/", name, whole.attribute<int64_t>("/", name));
  wrong.write("/tokens", std::vector<uint16_t>{0, 4, 60000});
  wrong.write("/modality", std::vector<uint8_t>{1, 1, 0});
  wrong.close();
  const Inspection bad = inspect(folder / "wrong.h5");
  EXPECT_EQ(bad.code, 1);
  const Json problems = bad.json()["problems"];
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_TRUE(problems[0].get<std::string>().starts_with("/tokens: 1 ids are not among"));
  EXPECT_EQ(problems[1], "/modality: 1 entries are not the modality of their token");
}

TEST(Inspect, RunHasItsLastStepAndCheckpoints) {
  const TemporaryFolder folder;
  save(folder, 3);
  write_file(folder / "run/config.json", R"({"steps": 5})");
  Metrics metrics(folder / "run", 0);
  for (int64_t step = 0; step < 5; ++step)
    metrics.write({.step = step,
                   .loss = 4,
                   .loss_text = {},
                   .loss_image = {},
                   .seconds = 1,
                   .expert_load = {},
                   .unrouted = {},
                   .passes = {}});
  EXPECT_EQ(inspect(folder / "run").code, 0);
  metrics.write({.step = 5,
                 .loss = std::nan(""),
                 .loss_text = {},
                 .loss_image = {},
                 .seconds = 1,
                 .expert_load = {},
                 .unrouted = {},
                 .passes = {}});
  const Inspection inspection = inspect(folder / "run");
  EXPECT_EQ(inspection.code, 1);
  const Json summary = inspection.json();
  EXPECT_EQ(summary["kind"], "run");
  EXPECT_EQ(summary["steps_recorded"], 6);
  EXPECT_EQ(summary["last_step"]["step"], 5);
  EXPECT_EQ(summary["checkpoints"].size(), 1u);
  EXPECT_EQ(summary["config"]["steps"], 5);
  EXPECT_EQ(summary["problems"][0], "step 5: not finite: [\"loss\"]");
}

TEST(Inspect, MalformedInputIsOneSentence) {
  const TemporaryFolder folder;
  EXPECT_EQ(failure_of(folder / "none"), "inspect: there is no " + folder / "none");
  EXPECT_NE(failure_of(folder / "").find("is not a dataset (no index.json)"), std::string::npos);
  write_file(folder / "zero.h5", "");
  EXPECT_NE(failure_of(folder / "zero.h5").find("zero.h5"), std::string::npos);
  hdf5::File other = hdf5::File::create(folder / "other.h5");
  other.close();
  EXPECT_NE(failure_of(folder / "other.h5").find("not a shard of a dataset"), std::string::npos);

  const std::string checkpoint = save(folder, 3);
  Json manifest = read_json(checkpoint + "/manifest.json");
  manifest["files"][0]["ranges"][0]["count"] = "many";
  write_json(checkpoint + "/manifest.json", manifest);
  EXPECT_NE(failure_of(checkpoint).find("manifest.json"), std::string::npos);
  manifest.erase("files");
  write_json(checkpoint + "/manifest.json", manifest);
  EXPECT_NE(failure_of(checkpoint).find("manifest.json"), std::string::npos);
  write_file(checkpoint + "/manifest.json", "[1]");
  EXPECT_NE(failure_of(checkpoint).find("is not the manifest of a checkpoint"), std::string::npos);
}

}  // namespace
}  // namespace tessera
