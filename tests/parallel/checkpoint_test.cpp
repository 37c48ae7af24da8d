#include "parallel/checkpoint_saver.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "runtime/hdf5.h"
#include "tests/support/saved_model.h"
#include "tests/support/tiny_disk.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

TEST(Checkpoint, AnyNumberOfRanksReadsWhatAnyOtherWrote) {
  for (const auto& [writers, readers] :
       std::vector<std::pair<int, int>>{{1, 1}, {4, 2}, {1, 3}, {3, 1}, {2, 4}, {7, 5}}) {
    SCOPED_TRACE(str(writers, " -> ", readers));
    const Folder folder;
    save(folder.path(), 200, writers, 5);
    EXPECT_EQ(folder.entries(), std::vector<std::string>{"step_00000200"});
    expect_loads(folder.path() + "/step_00000200", readers, 5);
  }
}

TEST(Checkpoint, KeepsStepAndState) {
  const Folder folder;
  save(folder.path(), 12, 2, 5, Json{{"seed", 7}, {"sampler", {{"epoch", 3}}}});
  const Json manifest = read_checkpoint_manifest(folder.path() + "/step_00000012");
  EXPECT_EQ(manifest["step"], 12);
  EXPECT_EQ(manifest["state"]["sampler"]["epoch"], 3);
  EXPECT_EQ(manifest["parameters"]["b.weight"], Json({2, 4, 3}));
}

TEST(Checkpoint, FilesHoldNamedRanges) {
  const Folder folder;
  save(folder.path(), 1, 2, 5);
  const hdf5::File file = hdf5::File::open(folder.path() + "/step_00000001/rank_00001.h5");
  EXPECT_EQ(file.children("/"), (std::vector<std::string>{"first", "parameters", "second"}));
  // Group a has 38 elements, 19 a rank: rank 1 begins inside a.weight.
  EXPECT_EQ(file.attribute<int64_t>("/parameters/a.weight", "begin"), 19);
  EXPECT_EQ(file.read<float>("/first/a.weight").size(), 16u);
  EXPECT_EQ(file.read<float>("/parameters/a.weight")[0],
            static_cast<float>(random_normal(5, Purpose("value a.weight"), 19)));
}

TEST(Checkpoint, ValuesCanBeReadAlone) {
  const Folder folder;
  save(folder.path(), 1, 2, 5);
  run_ranks(3, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1), other(world, engine, 1);
    model.set(5);
    other.set(6);
    load_checkpoint(folder.path() + "/step_00000001", other.values_alone(), world);
    for (size_t i = 0; i < model.tensors().pieces.size(); ++i) {
      const std::span<float> values = other.tensors().pieces[i].value.values<float>();
      EXPECT_TRUE(std::ranges::equal(values, model.tensors().pieces[i].value.values<float>()));
      EXPECT_FALSE(std::ranges::equal(other.tensors().optimizer->first(i).values<float>(), values));
    }
    save_checkpoint(folder.path(), 2, model.values_alone(), {}, world);
    EXPECT_THROW(load_checkpoint(folder.path() + "/step_00000002", model.tensors(), world), Error);
  });
}

TEST(Checkpoint, LatestIsTheHighestCompleteStep) {
  const Folder folder;
  EXPECT_FALSE(latest_checkpoint(folder.path()));
  EXPECT_FALSE(latest_checkpoint(folder.path() + "/none"));
  save(folder.path(), 9, 1, 5);
  save(folder.path(), 100'000'000, 1, 5);
  save(folder.path(), 20, 1, 5);
  for (const char* name : {"step_99999999999", "step_x", "step_", "step_-5", "step_7up"})
    fs::create_directory(folder.path() + "/" + name);
  EXPECT_EQ(latest_checkpoint(folder.path()), folder.path() + "/step_100000000");
}

TEST(Checkpoint, ReplacesTheSameStepAndSweepsUp) {
  const Folder folder;
  save(folder.path(), 3, 4, 5);
  fs::create_directories(folder.path() + "/.step_00000002.making/left");  // by a run that was killed
  save(folder.path(), 3, 2, 6);
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"step_00000003"});
  expect_loads(folder.path() + "/step_00000003", 3, 6);
}

/// The message with which every rank must refuse to load.
std::string refusal(const std::string& checkpoint, const Shapes& shapes = kShapes) {
  std::array<std::string, 2> messages;
  run_ranks(2, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1, shapes);
    try {
      load_checkpoint(checkpoint, model.tensors(), world);
    } catch (const Error& error) {
      messages[static_cast<size_t>(world.rank())] = error.what();
    }
  });
  EXPECT_EQ(messages[0], messages[1]);
  return messages[0];
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Checkpoint, RefusesAnotherModel) {
  const Folder folder;
  save(folder.path(), 1, 3, 5);
  const std::string checkpoint = folder.path() + "/step_00000001";
  Shapes other = kShapes;
  other[2].second = {2, 3, 4};
  EXPECT_EQ(refusal(checkpoint, other),
            str("checkpoint ", checkpoint, ": b.weight is [2,4,3] there, [2,3,4] in this model"));
  other = kShapes;
  other.push_back({"b.more", {2}});
  EXPECT_EQ(refusal(checkpoint, other),
            str("checkpoint ", checkpoint, ": b.more of this model is missing there"));
  other = kShapes;
  other.erase(other.begin());
  EXPECT_EQ(refusal(checkpoint, other),
            str("checkpoint ", checkpoint, ": a.weight [5,7] is there but not in this model"));
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST(Checkpoint, RefusesDamage) {
  const Folder folder;
  const std::string checkpoint = folder.path() + "/step_00000001", file = checkpoint + "/rank_00002.h5";
  auto fresh = [&] { save(folder.path(), 1, 3, 5); };

  fresh();
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_TRUE(contains(refusal(checkpoint), "rank_00002.h5 should have")) << refusal(checkpoint);

  fresh();
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekg(-3, std::ios::end);
    const char flipped = static_cast<char>(bytes.get() ^ 1);
    bytes.seekp(-3, std::ios::end);
    bytes.put(flipped);
  }
  EXPECT_TRUE(contains(refusal(checkpoint), "rank_00002.h5 is damaged")) << refusal(checkpoint);

  fresh();
  fs::remove(file);
  EXPECT_TRUE(contains(refusal(checkpoint), "rank_00002.h5 is missing")) << refusal(checkpoint);
}

TEST(Checkpoint, RefusesABadManifest) {
  const Folder folder;
  save(folder.path(), 1, 2, 5);
  const std::string checkpoint = folder.path() + "/step_00000001", path = checkpoint + "/manifest.json";
  const Json good = read_json(path);
  auto refused = [&](const Json& json) {
    write_text(path, json.dump());
    return refusal(checkpoint);
  };

  Json bad = good;
  bad["version"] = 2;
  EXPECT_TRUE(contains(refused(bad), "version must be 1, got 2"));
  bad = good;
  bad["format"] = 3;
  EXPECT_TRUE(contains(refused(bad), "not the manifest of a checkpoint"));
  EXPECT_TRUE(contains(refused(Json::array()), "not the manifest of a checkpoint"));
  bad = good;
  bad["files"][0]["ranges"][0]["begin"] = "x";
  EXPECT_TRUE(contains(refused(bad), "files[0].ranges[0].begin"));
  bad = good;
  bad["files"][0]["ranges"].erase(0);
  EXPECT_TRUE(contains(refused(bad), "a.weight: element 0 is in no file")) << refused(bad);
  bad = good;
  bad["files"][0]["ranges"][0]["count"] = 1;
  EXPECT_TRUE(contains(refused(bad), "the manifest says [0, 1)")) << refused(bad);
  bad = good;
  bad["files"].erase(1);
  EXPECT_TRUE(contains(refused(bad), "is in no file"));

  write_text(path, "{\"format\":");
  EXPECT_TRUE(contains(refusal(checkpoint), "not valid JSON"));
  fs::remove(path);
  EXPECT_TRUE(contains(refusal(checkpoint), "manifest.json"));
  EXPECT_FALSE(latest_checkpoint(folder.path()));
}

TEST(Checkpoint, AFailureOfOneRankReachesAll) {
  const Folder folder;
  save(folder.path(), 1, 3, 5);
  std::atomic<int> failed{0};
  run_ranks(3, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1);
    CheckpointTensors tensors = model.tensors();
    if (world.rank() == 1)
      tensors.pieces[0].value = Tensor::empty(tensors.pieces[0].value.shape(), DType::f32, Stream::meta());
    try {
      save_checkpoint(folder.path(), 2, tensors, {}, world);
    } catch (const Error& error) {
      EXPECT_TRUE(contains(error.what(), "rank 1: checkpoint ")) << error.what();
      ++failed;
    }
  });
  EXPECT_EQ(failed, 3);
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"step_00000001"});
  expect_loads(folder.path() + "/step_00000001", 2, 5);
}

TEST(Checkpoint, ADirectoryThatIsAFileIsRefused) {
  const Folder folder;
  write_text(folder.path() + "/out", "text");
  EXPECT_THROW(save(folder.path() + "/out", 1, 2, 5), Error);
}

TEST(Checkpoint, AFullDiskLeavesTheEarlierOne) {
  const Folder folder;
  const TinyDisk disk(folder.path(), 1024);
  if (!disk.failure().empty()) GTEST_SKIP() << "a tmpfs cannot be mounted here: " << disk.failure();
  save(folder.path(), 1, 2, 5);
  const Shapes large{{"a.weight", {400, 400}}, {"b.weight", {300}}};
  for (int attempt = 0; attempt < 2; ++attempt) {  // the first failure must not spoil the process
    std::atomic<int> failed{0};
    run_ranks(2, [&](Communicator& world) {
      CpuEngine engine;
      Model model(world, engine, 1, large);
      try {
        save_checkpoint(folder.path(), 2, model.tensors(), {}, world);
      } catch (const Error& error) {
        EXPECT_TRUE(contains(error.what(), "rank_0000")) << error.what();
        EXPECT_TRUE(contains(error.what(), "No space left")) << error.what();
        ++failed;
      }
    });
    EXPECT_EQ(failed, 2);
    EXPECT_EQ(folder.entries(), std::vector<std::string>{"step_00000001"});
  }
  expect_loads(folder.path() + "/step_00000001", 3, 5);
  save(folder.path(), 3, 2, 6);  // there is room for small ones again
  expect_loads(folder.path() + "/step_00000003", 1, 6);
}

TEST(Checkpoint, AFullDiskUnderTheManifestIsAFailureToo) {
  const Folder folder;
  const TinyDisk disk(folder.path(), 1024);
  if (!disk.failure().empty()) GTEST_SKIP() << "a tmpfs cannot be mounted here: " << disk.failure();
  EXPECT_THROW(save(folder.path(), 1, 2, 5, std::string(2 << 20, 'x')), Error);
  EXPECT_TRUE(folder.entries().empty());
}

}  // namespace
}  // namespace tessera
