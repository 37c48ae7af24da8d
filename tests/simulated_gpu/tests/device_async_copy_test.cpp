// cp.async: what is visible when.

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

using Kind = Outcome::Kind;

/// Each thread copies 4 bytes each of its two own words, as two groups, then does `work` and stores %f1 and
/// %f2.
std::vector<float> copied(const std::string& work, std::string* rules = nullptr) {
  PtxProgram program(entry("k", 2,
                           ".shared .align 16 .b8 s[256]; mov.u32 %r1, s; mad.lo.u32 %r2, %r0, 8, %r1; "
                           "mad.wide.u32 %rd2, %r0, 8, %rd0;"
                           "cp.async.ca.shared.global [%r2], [%rd2], 4; cp.async.commit_group;"
                           "cp.async.ca.shared.global [%r2+4], [%rd2+4], 4; cp.async.commit_group;" +
                               work +
                               "ld.shared.v2.f32 {%f1, %f2}, [%r2]; mad.wide.u32 %rd3, %r0, 8, %rd1; "
                               "st.global.v2.f32 [%rd3], {%f1, %f2};"));
  std::vector<float> values(64);
  for (size_t i = 0; i < 64; ++i) values[i] = static_cast<float>(i);
  const uint64_t from = program.upload(values), to = program.upload(std::vector<float>(64));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {32, 1, 1}, 0, from, to).kind, Kind::finished);
  if (rules != nullptr) *rules = program.recorder.rules();
  return program.download<float>(to, 64);
}

TEST(AsyncCopy, IsNotVisibleBeforeItsWait) {
  const auto first = [](const std::vector<float>& words, size_t i) { return words[2 * i]; };
  const auto second = [](const std::vector<float>& words, size_t i) { return words[2 * i + 1]; };
  const auto none = copied(""), one = copied("cp.async.wait_group 1;"),
             both = copied("cp.async.wait_group 0;"), all = copied("cp.async.wait_all;"),
             weak = copied("cp.async.wait_group 2;");
  for (size_t i = 0; i < 32; ++i) {
    const auto a = static_cast<float>(2 * i), b = static_cast<float>(2 * i + 1);
    EXPECT_TRUE(std::isnan(first(none, i)) && std::isnan(second(none, i)));
    EXPECT_TRUE(std::isnan(first(weak, i)) && std::isnan(second(weak, i)));
    EXPECT_EQ(first(one, i), a);
    EXPECT_TRUE(std::isnan(second(one, i))) << "the newest group may still be under way";
    EXPECT_EQ(first(both, i), a);
    EXPECT_EQ(second(both, i), b);
    EXPECT_EQ(first(all, i), a);
    EXPECT_EQ(second(all, i), b);
  }
}

TEST(AsyncCopy, AWaitForGroupsDoesNotCoverWhatWasNotCommitted) {
  const std::string third = "cp.async.wait_all; cp.async.ca.shared.global [%r2], [%rd2+4], 4; ";
  EXPECT_TRUE(std::isnan(copied(third + "cp.async.wait_group 0;")[6]));
  EXPECT_EQ(copied(third + "cp.async.commit_group; cp.async.wait_group 0;")[6], 7);
  EXPECT_EQ(copied(third + "cp.async.wait_all;")[6], 7);
}

TEST(AsyncCopy, ReadsItsSourceLate) {
  // The kernel overwrites the source between issue and wait: the copy sees the new value.
  EXPECT_EQ(copied("mov.f32 %f9, 0fC0000000; st.global.f32 [%rd2], %f9; cp.async.wait_all;")[0], -2);
}

TEST(AsyncCopy, SizesAndZeroFill) {
  PtxProgram program(
      entry("k", 2,
            ".shared .align 16 .b8 s[64]; mov.u32 %r1, s; mov.u32 %r2, 6; mov.u32 %r3, 0;"
            "cp.async.cg.shared.global.L2::128B [%r1], [%rd0], 16; cp.async.ca.shared::cta.global [%r1+16], "
            "[%rd0], 8, %r2;"
            "cp.async.ca.shared.global [%r1+24], [%rd0], 4, %r3; cp.async.ca.shared.global [%r1+32], "
            "[%rd0+16], 16; cp.async.wait_all;"
            "ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r1]; ld.shared.v4.u32 {%r14, %r15, %r16, %r17}, "
            "[%r1+16]; ld.shared.v4.u32 {%r18, %r19, %r20, %r21}, [%r1+32];"
            "st.global.v4.u32 [%rd1], {%r10, %r11, %r12, %r13}; st.global.v4.u32 [%rd1+16], {%r14, %r15, "
            "%r16, %r17}; st.global.v4.u32 [%rd1+32], {%r18, %r19, %r20, %r21};"));
  const uint64_t from = program.upload(std::vector<uint32_t>{0x11111111, 0x22222222, 3, 4, 5, 6, 7, 8});
  const uint64_t to = program.upload(std::vector<uint32_t>(12));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {1, 1, 1}, 0, from, to).kind, Kind::finished);
  EXPECT_EQ(program.download<uint32_t>(to, 12),
            (std::vector<uint32_t>{0x11111111, 0x22222222, 3, 4, 0x11111111, 0x2222, 0, ~0u, 5, 6, 7, 8}));
}

TEST(AsyncCopy, ASourceOfNoBytesMayLieAnywhere) {
  const auto run = [](const std::string& bytes) {
    PtxProgram program(entry("k", 0,
                             ".shared .align 16 .b8 s[16]; mov.u64 %rd1, 64; mov.u32 %r1, " + bytes +
                                 "; cp.async.ca.shared.global [s], [%rd1], 4, %r1; cp.async.wait_all;"));
    return program.run("k", {1, 1, 1}, {1, 1, 1}, 0).kind;
  };
  EXPECT_EQ(run("0"), Kind::finished);
  EXPECT_EQ(run("4"), Kind::trapped);
}

TEST(AsyncCopy, AddressesAreChecked) {
  const auto run = [](const std::string& copy) {
    PtxProgram program(entry("k", 1, ".shared .align 16 .b8 s[32]; " + copy));
    const uint64_t from = program.upload(std::vector<uint32_t>(8));
    program.run("k", {1, 1, 1}, {1, 1, 1}, 0, from);
    return program.recorder.rules();
  };
  EXPECT_EQ(run("cp.async.cg.shared.global [s+16], [%rd0+16], 16;"), "");
  EXPECT_EQ(run("cp.async.cg.shared.global [s+8], [%rd0], 16;"), "alignment");
  EXPECT_EQ(run("cp.async.cg.shared.global [s], [%rd0+8], 16;"), "alignment");
  EXPECT_EQ(run("cp.async.cg.shared.global [s+32], [%rd0], 16;"), "address");
}

TEST(AsyncCopy, TellsTheObserverAtIssueAndAtTheWait) {
  class Log : public Observer {
   public:
    uint32_t access(const Access& access) override {
      if (access.is_asynchronous) {
        text += access.kind == AccessKind::read ? "reads " : "writes ";
        text += std::to_string(access.bytes_per_lane) + "; ";
      }
      return access.mask;
    }
    void asynchronous_copy_done(int, int lane, uint64_t address, uint32_t bytes) override {
      text += "lane " + std::to_string(lane) + " has " + std::to_string(bytes) + " at " +
              std::to_string(address) + "; ";
    }
    void executes(const ptx::Instruction& instruction, int, uint32_t) override {
      if (instruction.has(ptx::Modifier::wait_group)) text += "wait; ";
    }
    std::string text;
  } log;
  PtxProgram program(entry("k", 1,
                           ".shared .align 16 .b8 s[32]; mov.u32 %r1, 5; cp.async.ca.shared.global [s+8], "
                           "[%rd0], 8, %r1; cp.async.commit_group; cp.async.wait_group 0;"));
  program.observer = &log;
  program.run("k", {1, 1, 1}, {1, 1, 1}, 0, program.upload(std::vector<uint32_t>(8)));
  EXPECT_EQ(log.text, "reads 5; writes 8; wait; lane 0 has 8 at 8; ");
}

}  // namespace
}  // namespace simulated_gpu
