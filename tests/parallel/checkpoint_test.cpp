#include "parallel/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/cpu_engine.h"
#include "runtime/hdf5.h"
#include "runtime/random.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// A fresh folder, removed at the end.
class Folder {
 public:
  Folder() : path_((fs::temp_directory_path() / "tessera_checkpoint_XXXXXX").string()) {
    if (!::mkdtemp(path_.data())) throw Error("cannot make a folder for the test");
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }

 private:
  std::string path_;
};

using Shapes = std::vector<std::pair<std::string, Shape>>;

const Shapes kShapes{{"a.weight", {5, 7}}, {"a.scale", {3}}, {"b.weight", {2, 4, 3}}, {"b.one", {1}}};

/// Two shard groups and their optimizer on one rank.
class Model {
 public:
  Model(Communicator& world, CpuEngine& engine, uint64_t seed, const Shapes& shapes = kShapes) {
    for (const auto& [name, shape] : shapes) {
      Parameter& parameter = *parameters_.emplace_back(std::make_unique<Parameter>(shape));
      parameter.name = name;
      groups_[name[0] == 'a' ? 0 : 1].second.push_back(&parameter);
    }
    mesh_.emplace(world);
    std::vector<Optimized> ranges;
    for (auto& [group, members] : groups_) {
      group.bind(members, *mesh_, engine.stream(), {}, seed, 1);
      for (const ShardPiece& piece : group.pieces()) {
        pieces_.push_back(piece);
        ranges.push_back({piece.value, piece.grad, true});
      }
    }
    optimizer_.emplace(ranges, AdamWConfig{});
  }

  CheckpointTensors tensors() const { return {pieces_, &*optimizer_}; }
  CheckpointTensors values_alone() const { return {pieces_, nullptr}; }

  /// Everything becomes a function of (name, element): what a run has after some steps.
  void set(uint64_t seed) {
    for (size_t i = 0; i < pieces_.size(); ++i)
      for_each_array(i, [&](const char* kind, const Tensor& tensor) {
        for (int64_t k = 0; k < tensor.count(); ++k) tensor.data<float>()[k] = expected(seed, kind, i, k);
      });
  }

  void expect(uint64_t seed) {
    for (size_t i = 0; i < pieces_.size(); ++i)
      for_each_array(i, [&](const char* kind, const Tensor& tensor) {
        for (int64_t k = 0; k < tensor.count(); ++k)
          ASSERT_EQ(tensor.data<float>()[k], expected(seed, kind, i, k))
              << kind << pieces_[i].parameter->name << " element " << k;
      });
  }

 private:
  template <class Visit>
  void for_each_array(size_t i, const Visit& visit) {
    visit("value ", pieces_[i].value);
    visit("first ", optimizer_->first(i));
    visit("second ", optimizer_->second(i));
  }
  float expected(uint64_t seed, const char* kind, size_t i, int64_t k) const {
    const Purpose purpose(kind + pieces_[i].parameter->name);
    return static_cast<float>(random_normal(seed, purpose, static_cast<uint64_t>(pieces_[i].begin + k)));
  }

  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::optional<Mesh> mesh_;
  std::array<std::pair<ShardGroup, std::vector<Parameter*>>, 2> groups_;
  std::vector<ShardPiece> pieces_;
  std::optional<AdamW> optimizer_;
};

void save(const std::string& directory, int64_t step, int ranks, uint64_t seed, const Json& state = "state") {
  run_ranks(ranks, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1);
    model.set(seed);
    save_checkpoint(directory, step, model.tensors(), state, *checked(world));
  });
}

void expect_loads(const std::string& checkpoint, int ranks, uint64_t seed) {
  run_ranks(ranks, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1);
    load_checkpoint(checkpoint, model.tensors(), *checked(world));
    model.expect(seed);
  });
}

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

/// A file system of a fixed size over a folder.
class SmallDisk {
 public:
  SmallDisk(std::string path, const char* size) : path_(std::move(path)) {
    mounted_ = ::mount("tessera_test", path_.c_str(), "tmpfs", 0, size) == 0;
    if (!mounted_) reason_ = std::strerror(errno);
  }
  ~SmallDisk() {
    if (mounted_) ::umount(path_.c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  const std::string& reason() const { return reason_; }

 private:
  std::string path_, reason_;
  bool mounted_ = false;
};

TEST(Checkpoint, AFullDiskLeavesTheEarlierOne) {
  const Folder folder;
  const SmallDisk disk(folder.path(), "size=1m");
  if (!disk.mounted()) GTEST_SKIP() << "a tmpfs cannot be mounted here: " << disk.reason();
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
  const SmallDisk disk(folder.path(), "size=1m");
  if (!disk.mounted()) GTEST_SKIP() << "a tmpfs cannot be mounted here: " << disk.reason();
  EXPECT_THROW(save(folder.path(), 1, 2, 5, std::string(2 << 20, 'x')), Error);
  EXPECT_TRUE(folder.entries().empty());
}

}  // namespace
}  // namespace tessera
