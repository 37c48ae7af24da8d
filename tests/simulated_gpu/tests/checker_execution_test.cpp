// Checkers and profile on kernels that the executor runs: PTX with one seeded fault, and without it.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/simulated_gpu/checker/profile.h"
#include "tests/simulated_gpu/tests/launch_driver.h"
#include "tests/simulated_gpu/tests/ptx_program.h"

namespace simulated_gpu {
namespace {

/// A kernel of two pointers, input and output, of kThreads words each.
class CheckedExecution : public ::testing::Test {
 protected:
  static constexpr uint32_t kThreads = 64;

  /// Kinds of the reports under three seeds, without repeats; the module may declare shared memory.
  static std::string kinds(const std::string& declarations, const std::string& body, uint32_t blocks = 1,
                           bool independent_lanes = false) {
    for (uint64_t seed = 1; seed <= 3; ++seed)
      run(declarations + entry("kernel", 2, body), blocks, {seed, independent_lanes});
    std::string kinds;
    for (const std::string& report : taken_reports()) {
      const std::string kind = report.substr(0, report.find(':'));
      if (kinds.find(kind) == std::string::npos) kinds += (kinds.empty() ? "" : " ") + kind;
    }
    return kinds;
  }

 private:
  static void run(const std::string& text, uint32_t blocks, const Schedule& schedule) {
    PtxProgram program(text);
    GlobalShadow shadow(program.memory());
    Timelines timelines;
    const std::vector<int> words(kThreads * blocks, 1);
    const uint64_t in = program.upload(words), out = program.upload(words);
    for (const uint64_t address : {in, out}) {
      shadow.allocated(address, words.size() * 4, timelines.next(1, "cudaMalloc"));
      shadow.touch(address, words.size() * 4, AccessKind::write, timelines.next(1, "cudaMemcpy"));
    }
    const auto observer = shadow.watch_launch(timelines.next(1, "launch kernel"));
    program.observer = observer.get();
    program.schedule = schedule;
    program.run("kernel", {blocks, 1, 1}, {kThreads, 1, 1}, 0, in, out);
  }
};

const char kOwnWords[] =  // %rd4: the thread's word of the input, %rd5: of the output
    "mov.u32 %r10, %ctaid.x; mad.lo.u32 %r11, %r10, 64, %r0; mul.wide.u32 %rd3, %r11, 4;"
    "add.u64 %rd4, %rd0, %rd3; add.u64 %rd5, %rd1, %rd3;";
const char kTile[] = ".shared .align 16 .b8 tile[1024];";
/// %r20: the thread's word of the tile, %r21: that of the thread whose number differs in the highest bit of
/// its lane, %r22: of its warp.
const char kTileWords[] =
    "mov.u32 %r19, tile; mad.lo.u32 %r20, %r0, 4, %r19; xor.b32 %r21, %r0, 16; mad.lo.u32 %r21, %r21, 4, "
    "%r19;"
    "xor.b32 %r22, %r0, 32; mad.lo.u32 %r22, %r22, 4, %r19;";

TEST_F(CheckedExecution, GlobalMemory) {
  const std::string own = kOwnWords;
  EXPECT_EQ(kinds("", own + "ld.global.u32 %r1, [%rd4]; st.global.u32 [%rd5], %r1;", 3), "");
  EXPECT_EQ(kinds("", own + "ld.global.u32 %r1, [%rd4+4]; st.global.u32 [%rd5], %r1;", 3), "memory");
  EXPECT_EQ(kinds("", own + "st.global.u32 [%rd1], %r0;"), "race");
  EXPECT_EQ(kinds("", own + "red.global.add.u32 [%rd1], %r0;", 3), "");
  EXPECT_EQ(kinds("", own + "st.global.u32 [%rd5], %r0; bar.sync 0; ld.global.u32 %r1, [%rd1+128];"), "");
  EXPECT_EQ(kinds("", own + "st.global.u32 [%rd5], %r0; bar.sync 0; ld.global.u32 %r1, [%rd1+128];", 2),
            "race");
}

TEST_F(CheckedExecution, SharedMemory) {
  const std::string words = kTileWords, write = words + "st.shared.u32 [%r20], %r0;";
  for (const bool independent : {false, true}) {
    const auto run = [&](const std::string& body) { return kinds(kTile, body, 1, independent); };
    EXPECT_EQ(run(write + "bar.sync 0; ld.shared.u32 %r1, [%r22];"), "");
    EXPECT_NE(run(write + "ld.shared.u32 %r1, [%r22];").find("race"), std::string::npos);
    EXPECT_EQ(run(write + "bar.warp.sync -1; ld.shared.u32 %r1, [%r21];"), "");
    EXPECT_NE(run(write + "ld.shared.u32 %r1, [%r21];").find("race"), std::string::npos);
    // A shuffle waits for the lanes but orders no memory.
    EXPECT_NE(run(write + "shfl.sync.bfly.b32 %r2, %r0, 1, 31, -1; ld.shared.u32 %r1, [%r21];").find("race"),
              std::string::npos);
    EXPECT_EQ(run(words + "ld.shared.u32 %r1, [%r20];"), "uninitialised");
    EXPECT_EQ(run(words + "st.shared.u32 [%r20+1000], %r0;"), "memory");
  }
}

TEST_F(CheckedExecution, AsynchronousCopies) {
  const std::string issue =
      std::string(kOwnWords) + kTileWords + "cp.async.ca.shared.global [%r20], [%rd4], 4;";
  const std::string other = "ld.shared.u32 %r1, [%r22];";
  EXPECT_EQ(kinds(kTile, issue + "cp.async.wait_all; bar.sync 0;" + other), "");
  EXPECT_EQ(kinds(kTile, issue + "bar.sync 0;" + other), "uninitialised");
  EXPECT_EQ(kinds(kTile, issue + "cp.async.wait_all; ld.shared.u32 %r1, [%r20];"), "");
  EXPECT_NE(kinds(kTile, issue + "cp.async.wait_all;" + other).find("race"), std::string::npos);
}

TEST_F(CheckedExecution, LastBlock) {
  // Thread 0 of each block writes a part and takes a ticket; the last one reads the first part.
  const auto body = [&](const char* fence) {
    return std::string(kOwnWords) + "setp.ne.u32 %p1, %r0, 0; @%p1 bra done; st.global.u32 [%rd5], %r0;" +
           fence +
           "atom.global.add.u32 %r1, [%rd0], 1; setp.ne.u32 %p2, %r1, %r30; @%p2 bra done; ld.global.u32 "
           "%r2, [%rd1];"
           "ld.global.u32 %r2, [%rd1+256]; ld.global.u32 %r2, [%rd1+512]; done:";
  };
  // The ticket begins at 1.
  const std::string last = "mov.u32 %r30, 3;";
  EXPECT_EQ(kinds("", last + body("membar.gl;"), 3), "");
  EXPECT_EQ(kinds("", last + body(""), 3), "race");
}

TEST(ProfiledExecution, CountsWhatRan) {
  PtxProgram program(entry("kernel", 1,
                           "mul.wide.u32 %rd3, %r0, 8; add.u64 %rd4, %rd0, %rd3; ld.global.f32 %f1, [%rd4];"
                           "fma.rn.f32 %f1, %f1, %f1, %f1; st.global.f32 [%rd4], %f1;"));
  Profile profile;
  profile.add_module(program.module());
  const auto observer = profile.watch_launch();
  program.observer = observer.get();
  program.run("kernel", {2, 1, 1}, {32, 1, 1}, 0, program.upload(std::vector<float>(64, 1.0f)));
  const std::vector<KernelProfile> kernels = profile.kernels();
  ASSERT_EQ(kernels.size(), 1u);
  EXPECT_EQ(kernels[0].flops, 2u * 32 * 2);
  EXPECT_EQ(kernels[0].global_requested_bytes, 2u * 2 * 128);
  EXPECT_EQ(kernels[0].global_sectors, 2u * 2 * 8);
  EXPECT_EQ(kernels[0].global_unique_bytes_read, 128u);
  EXPECT_EQ(kernels[0].launch_shapes, (std::vector<LaunchShape>{{32, 0}}));
}

}  // namespace
}  // namespace simulated_gpu
