#include "parallel/checkpoint_saver.h"

#include <gtest/gtest.h>

#include <atomic>
#include <sstream>
#include <thread>

#include "parallel/agree.h"
#include "runtime/hdf5.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/command.h"
#include "tests/support/saved_model.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// Polls as a training does at the ends of its steps, until the save is published.
SaveTimes poll_until_published(CheckpointSaver& saver) {
  for (;;) {
    if (const std::optional<SaveTimes> times = saver.poll()) return *times;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(CheckpointSaver, WritesTheValuesAtItsStartWhateverItsBuffer) {
  const Folder folder;
  save(folder.path() + "/whole", 7, 3, 5);
  const FileTree whole = file_tree(folder.path() + "/whole");
  for (int64_t staging_bytes : {16, 100, 1 << 20}) {
    const std::string directory = str(folder.path(), "/staged_", staging_bytes);
    run_ranks(3, [&](Communicator& world) {
      CpuEngine engine;
      Model model(world, engine, 1);
      model.set(5);
      const std::unique_ptr<Communicator> ranks = checked(world);
      CheckpointSaver saver(directory, model.tensors(), staging_bytes, *ranks);
      saver.start(7, "state");
      model.set(6);  // training goes on
      const SaveTimes times = poll_until_published(saver);
      EXPECT_GT(times.held_seconds, 0);
      EXPECT_LE(times.held_seconds, times.seconds);
      EXPECT_FALSE(saver.under_way());
    });
    EXPECT_TRUE(file_tree(directory) == whole) << staging_bytes;
  }
}

TEST(CheckpointSaver, PublishesWhenAskedToAndOnceAtATime) {
  const Folder folder;
  run_ranks(2, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1);
    model.set(5);
    CheckpointSaver saver(folder.path(), model.tensors(), 1 << 20, world);
    EXPECT_FALSE(saver.poll());
    EXPECT_FALSE(saver.finish());
    saver.start(1, {});
    EXPECT_THROW(saver.start(2, {}), Error);
    world.barrier();
    EXPECT_FALSE(latest_checkpoint(folder.path()));
    world.barrier();
    EXPECT_TRUE(saver.finish());
    EXPECT_EQ(latest_checkpoint(folder.path()), folder.path() + "/step_00000001");
  });
}

TEST(CheckpointSaver, GivesUpWhatIsNotPublished) {
  const Folder folder;
  save(folder.path(), 1, 1, 5);
  run_ranks(1, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1);
    CheckpointSaver saver(folder.path(), model.tensors(), 16, world);
    saver.start(2, {});
  });
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"step_00000001"});
}

TEST(CheckpointSaver, ARangeOfSeveralRanksIsWrittenByTheFirst) {
  const Folder folder;
  run_ranks(4, [&](Communicator& world) {  // two replicas of two shards
    CpuEngine engine;
    const std::unique_ptr<Communicator> replica = world.split(world.rank() / 2, world.rank());
    Model model(*replica, engine, 1);
    model.set(5);
    save_checkpoint(folder.path(), 1, model.tensors(), {}, *checked(world));
  });
  std::vector<std::string> names;
  for (const auto& [path, bytes] : file_tree(folder.path())) names.push_back(path);
  EXPECT_EQ(names, (std::vector<std::string>{"step_00000001", "step_00000001/manifest.json",
                                             "step_00000001/rank_00000.h5", "step_00000001/rank_00001.h5"}));
  expect_loads(folder.path() + "/step_00000001", 3, 5);
}

TEST(CheckpointSaver, AFailureOfAWriterReachesAllRanksAtAPoll) {
  const Folder folder;
  save(folder.path(), 1, 3, 5);
  std::atomic<int> failed{0};
  run_ranks(3, [&](Communicator& world) {
    CpuEngine engine;
    Model model(world, engine, 1);
    CheckpointTensors tensors = model.tensors();
    if (world.rank() == 1) tensors.pieces.push_back(tensors.pieces[0]);  // the file has the name already
    tensors.optimizer = nullptr;
    CheckpointSaver saver(folder.path(), tensors, 16, world);
    saver.start(2, {});
    try {
      poll_until_published(saver);
    } catch (const AgreedError& error) {
      EXPECT_NE(std::string(error.what()).find("rank 1: checkpoint " + folder.path() + "/step_00000002: "),
                std::string::npos)
          << error.what();
      ++failed;
    }
    EXPECT_FALSE(saver.under_way());
  });
  EXPECT_EQ(failed, 3);
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"step_00000001"});
  expect_loads(folder.path() + "/step_00000001", 2, 5);
}

TEST(CheckpointSaver, PutsBackWhatAKilledRunWasAboutToReplace) {
  const Folder folder;
  save(folder.path(), 3, 2, 5);
  fs::rename(folder.path() + "/step_00000003", folder.path() + "/.step_00000003.replaced");
  for (const char* left : {"/.step_00000003.making", "/.step_00000001.removed", "/.step_00000009.replaced"})
    fs::create_directories(folder.path() + left + "/inside");
  fs::create_directories(folder.path() + "/step_00000009");
  sweep_checkpoints(folder.path());
  EXPECT_EQ(folder.entries(), (std::vector<std::string>{"step_00000003", "step_00000009"}));
  expect_loads(folder.path() + "/step_00000003", 1, 5);
}

TEST(CheckpointSaver, SetsAsideUnderANameThatIsFree) {
  const Folder folder;
  for (uint64_t seed : {5, 6}) {
    save(folder.path(), 3, 1, seed);
    set_checkpoint_aside(folder.path() + "/step_00000003");
  }
  EXPECT_EQ(folder.entries(), (std::vector<std::string>{"damaged_step_00000003", "damaged_step_00000003_2"}));
  expect_loads(folder.path() + "/damaged_step_00000003_2", 1, 6);
}

/// The commands of docs/checkpoints.md.
TEST(CheckpointSaver, OtherProgramsReadWhatItWrites) {
  const Folder folder;
  save(folder.path(), 1, 2, 5);
  const std::string file = folder.path() + "/step_00000001/rank_00001.h5";
  const CommandResult dump = run_command({"h5dump", "-A", file});
  if (dump.code == 127) GTEST_SKIP() << "h5dump is not installed";
  EXPECT_EQ(dump.code, 0) << dump.err;
  for (const char* part : {"GROUP \"parameters\"", "GROUP \"second\"", "DATASET \"a.weight\"",
                           "ATTRIBUTE \"begin\"", "H5T_IEEE_F32LE"})
    EXPECT_NE(dump.out.find(part), std::string::npos) << part << " in " << dump.out;
  if (run_command({"python3", "-c", "import h5py"}).code != 0) GTEST_SKIP() << "h5py is not installed";
  const CommandResult python =
      run_command({"python3", "-c",
                   "import h5py, sys\n"
                   "a = h5py.File(sys.argv[1])['parameters/a.weight']\n"
                   "print(a.attrs['begin'], a.shape[0], a.dtype, float(a[0]).hex())\n",
                   file});
  const std::vector<float> values = hdf5::File::open(file).read<float>("/parameters/a.weight");
  ASSERT_EQ(python.code, 0) << python.err;
  std::istringstream words(python.out);
  int64_t begin = 0, count = 0;
  std::string dtype, hex;
  words >> begin >> count >> dtype >> hex;
  EXPECT_EQ(begin, 19);
  EXPECT_EQ(count, std::ssize(values));
  EXPECT_EQ(dtype, "float32");
  EXPECT_EQ(std::strtod(hex.c_str(), nullptr), static_cast<double>(values[0]));
}

}  // namespace
}  // namespace tessera
