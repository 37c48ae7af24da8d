// ld, st, cvta and the spaces; what lies outside of them; atomics.

#include <algorithm>
#include <limits>

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

using Kind = Outcome::Kind;

TEST(Memory, WidthsAndSigns) {
  const std::string body =
      "ld.global.s8 %r1, [%rd0]; ld.global.u8 %r2, [%rd0]; ld.global.s16 %r3, [%rd0]; ld.global.u16 %h1, "
      "[%rd0];"
      "ld.global.s32 %rd5, [%rd0]; ld.global.u32 %rd6, [%rd0]; ld.global.s8 %h2, [%rd0];"
      "st.global.u32 [%rd1], %r1; st.global.u32 [%rd1+4], %r2; st.global.u32 [%rd1+8], %r3; st.global.u16 "
      "[%rd1+12], %h1;"
      "st.global.u16 [%rd1+14], %h2; st.global.u64 [%rd1+16], %rd5; st.global.u64 [%rd1+24], %rd6;"
      "st.global.u8 [%rd1+32], %r1; st.global.u8 [%rd1+33], 7; st.global.u16 [%rd1+34], %r3;";
  PtxProgram program(entry("k", 2, body));
  const uint64_t from = program.upload(std::vector<uint32_t>{0xfedc8182}),
                 to = program.upload(std::vector<uint32_t>(9));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {1, 1, 1}, 0, from, to).kind, Kind::finished);
  EXPECT_EQ(program.download<uint32_t>(to, 9),
            (std::vector<uint32_t>{0xffffff82, 0x82, 0xffff8182, 0xff828182, 0xfedc8182, 0xffffffff,
                                   0xfedc8182, 0, 0x81820782}));
}

TEST(Memory, Vectors) {
  const std::string body =
      "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0]; ld.global.nc.L1::no_allocate.L2::128B.v2.f64 {%d1, "
      "%d2}, [%rd0+16];"
      "ld.global.v4.u8 {%h1, %h2, %h3, %h4}, [%rd0]; ld.global.v2.f32 {%f1, _}, [%rd0+8];"
      "st.global.cs.v4.u32 [%rd1], {%r4, %r3, %r2, 99}; st.global.v2.f64 [%rd1+16], {%d2, %d1};"
      "st.global.v4.u8 [%rd1+32], {%h4, %h3, %h2, %h1}; st.global.f32 [%rd1+36], %f1;";
  PtxProgram program(entry("k", 2, body));
  const uint64_t from = program.upload(std::vector<uint32_t>{0x04030201, 2, 3, 4, 5, 6, 7, 8});
  const uint64_t to = program.upload(std::vector<uint32_t>(10));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {1, 1, 1}, 0, from, to).kind, Kind::finished);
  EXPECT_EQ(program.download<uint32_t>(to, 10),
            (std::vector<uint32_t>{4, 3, 2, 99, 7, 8, 5, 6, 0x01020304, 3}));
}

TEST(Memory, OrderAndCacheWordsDoNotChangeTheValue) {
  for (const std::string words :
       {"volatile.global", "relaxed.gpu.global", "acquire.sys.global", "weak.global", "global.ca",
        "global.cg", "global.cv", "global.lu", "global.L1::evict_last", "acquire.cta.global"}) {
    PtxProgram program(entry(
        "k", 2,
        "ld." + words +
            ".u32 %r1, [%rd0]; st.release.gpu.global.u32 [%rd1], %r1; st.volatile.global.u32 [%rd1], %r1;"));
    const uint64_t from = program.upload(std::vector<uint32_t>{42}),
                   to = program.upload(std::vector<uint32_t>{0});
    EXPECT_EQ(program.run("k", {1, 1, 1}, {1, 1, 1}, 0, from, to).kind, Kind::finished);
    EXPECT_EQ(program.download<uint32_t>(to, 1)[0], 42u) << words;
  }
}

/// One pointer per lane, into global, shared, local and constant memory in turn.
TEST(Memory, GenericAddresses) {
  const std::string text =
      ".const .u32 c = 7;\n" +
      entry("k", 2,
            ".shared .align 8 .b8 s[256]; .local .align 8 .b8 l[16];"
            "mul.lo.u32 %r9, %r0, 4; mov.u32 %r1, s; add.u32 %r1, %r1, %r9; st.shared.u32 [%r1], 300;"
            "mov.u64 %rd2, l; add.u64 %rd2, %rd2, 4; st.local.u32 [%rd2], 200; cvta.local.u64 %rd3, %rd2;"
            "cvt.u64.u32 %rd4, %r1; cvta.shared.u64 %rd4, %rd4; mov.u64 %rd5, c; cvta.const.u64 %rd5, %rd5;"
            "mad.wide.u32 %rd6, %r0, 4, %rd0; and.b32 %r2, %r0, 3;"
            "setp.eq.u32 %p1, %r2, 1; selp.u64 %rd6, %rd3, %rd6, %p1; setp.eq.u32 %p1, %r2, 2; selp.u64 "
            "%rd6, %rd4, %rd6, %p1;"
            "setp.eq.u32 %p1, %r2, 3; selp.u64 %rd6, %rd5, %rd6, %p1;"
            "ld.u32 %r3, [%rd6]; setp.ne.u32 %p2, %r2, 3; add.u32 %r4, %r3, 1; @%p2 st.u32 [%rd6], %r4; "
            "ld.u32 %r5, [%rd6];"
            "isspacep.shared %p3, %rd6; isspacep.local %p4, %rd6; isspacep.global %p5, %rd6;"
            "selp.u32 %r6, 1000, 0, %p3; selp.u32 %r7, 2000, 0, %p4; selp.u32 %r8, 4000, 0, %p5;"
            "add.u32 %r5, %r5, %r6; add.u32 %r5, %r5, %r7; add.u32 %r5, %r5, %r8;"
            "mad.wide.u32 %rd8, %r0, 4, %rd1; st.global.u32 [%rd8], %r5;");
  PtxProgram program(text);
  std::vector<uint32_t> values(64, 100);
  const uint64_t from = program.upload(values), to = program.upload(values);
  const Outcome outcome = program.run("k", {1, 1, 1}, {64, 1, 1}, 0, from, to);
  EXPECT_EQ(outcome.kind, Kind::finished) << outcome.text;
  const auto results = program.download<uint32_t>(to, 64);
  for (size_t i = 0; i < 64; ++i)
    EXPECT_EQ(results[i], (std::vector<uint32_t>{4101, 2201, 1301, 4007}[i % 4])) << i;
}

TEST(Memory, SharedIsStaticThenDynamic) {
  const std::string text = ".extern .shared .align 16 .b8 dynamic[];\n.shared .align 4 .b8 whole[4];\n" +
                           entry("k", 1,
                                 ".shared .align 8 .b8 a[12]; .shared .f64 b;"
                                 "mov.u32 %r1, a; mov.u32 %r2, b; mov.u32 %r3, dynamic; mov.u32 %r4, "
                                 "%dynamic_smem_size; mov.u32 %r5, whole;"
                                 "st.global.v4.u32 [%rd0], {%r1, %r2, %r3, %r4}; st.global.u32 [%rd0+16], "
                                 "%r5; st.shared.u8 [dynamic+31], 1;");
  PtxProgram program(text);
  EXPECT_EQ(program.module().kernels.at("k").static_shared_bytes, 32u);
  const uint64_t to = program.upload(std::vector<uint32_t>(5));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {1, 1, 1}, 32, to).kind, Kind::finished);
  EXPECT_EQ(program.download<uint32_t>(to, 5), (std::vector<uint32_t>{0, 16, 32, 32, 24}));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {1, 1, 1}, 31, to).kind, Kind::trapped);
}

TEST(Memory, LocalIsEachThreadsOwn) {
  PtxProgram program(entry("k", 1,
                           ".local .align 16 .b8 depot[32]; mov.u64 %rd1, depot; st.local.u32 [%rd1+8], %r0; "
                           "bar.sync 0; ld.local.u32 %r1, [depot+8];"
                           "mad.wide.u32 %rd2, %r0, 4, %rd0; st.global.u32 [%rd2], %r1;"));
  const uint64_t to = program.upload(std::vector<uint32_t>(96));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {96, 1, 1}, 0, to).kind, Kind::finished);
  const auto results = program.download<uint32_t>(to, 96);
  for (uint32_t i = 0; i < 96; ++i) EXPECT_EQ(results[i], i);
}

TEST(Memory, NobodyReadsZeroFromWhatWasNotWritten) {
  PtxProgram program(entry("k", 1,
                           ".shared .b8 s[8]; .local .b8 l[8]; ld.shared.f32 %f1, [s]; ld.local.f32 %f2, "
                           "[l]; ld.shared.f64 %d1, [s]; cvt.rn.f32.f64 %f3, %d1;"
                           "st.global.v4.f32 [%rd0], {%f1, %f2, %f3, %f9};"));
  const uint64_t to = program.upload(std::vector<float>(4));
  program.run("k", {1, 1, 1}, {1, 1, 1}, 0, to);
  for (const float value : program.download<float>(to, 4)) EXPECT_TRUE(std::isnan(value));
}

/// A kernel of one access, and what becomes of it.
Outcome access(const std::string& instruction, std::string& rules, uint64_t address) {
  PtxProgram program(entry("k", 1, ".shared .b8 s[16]; .local .b8 l[16];" + instruction));
  const uint64_t memory = program.upload(std::vector<uint32_t>(4));
  const Outcome outcome = program.run("k", {1, 1, 1}, {32, 1, 1}, 0, address == 0 ? memory : address);
  rules = program.recorder.rules();
  return outcome;
}

TEST(Memory, OutsideOrMisalignedEndsTheLaunch) {
  const struct {
    const char* instruction;
    const char* rule;  ///< "" where the access is legal
    uint64_t address = 0;
  } cases[] = {
      {"ld.global.u32 %r1, [%rd0];", ""},
      {"ld.global.u32 %r1, [%rd0+2];", "alignment"},
      {"ld.global.u32 %r1, [%rd0];", "address", 64},
      {"ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0];", ""},
      {"ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd0+8];", "alignment"},
      {"ld.shared.u32 %r1, [s+12];", ""},
      {"ld.shared.u32 %r1, [s+16];", "address"},
      {"st.shared.u8 [s+-1], 0;", "address"},
      {"st.local.u64 [l+8], %rd0;", ""},
      {"st.local.u64 [l+12], %rd0;", "address"},
      {"ld.u32 %r1, [%rd0];", "address", uint64_t{1} << 63},
      {"atom.global.add.u32 %r1, [%rd0+1], 1;", "alignment"},
      {"prefetch.global.L2 [%rd0];", ""},
  };
  for (const auto& c : cases) {
    std::string rules;
    const Outcome outcome = access(c.instruction, rules, c.address);
    EXPECT_EQ(rules, c.rule) << c.instruction;
    EXPECT_EQ(outcome.kind, *c.rule == '\0' ? Kind::finished : Kind::trapped)
        << c.instruction << outcome.text;
  }
  std::string rules;
  EXPECT_EQ(access("prefetch.global.L2 [%rd0];", rules, 64).kind, Kind::finished);
  EXPECT_EQ(rules.substr(0, 7), "address");
}

/// What the observer forbids does not happen: such lanes read NaN bits and write nothing.
TEST(Memory, ObserverForbidsLanes) {
  class Forbids : public Observer {
   public:
    uint32_t access(const Access& access) override {
      if (access.space != ptx::Space::global) return access.mask;
      return access.mask & (access.kind == AccessKind::read ? 0xaaaaaaaa : 0x7fffffff);
    }
  } forbids;
  PtxProgram program(entry("k", 2,
                           "mad.wide.u32 %rd2, %r0, 4, %rd0; mad.wide.u32 %rd3, %r0, 4, %rd1;"
                           "ld.global.u32 %r1, [%rd2]; st.global.u32 [%rd3], %r1;"));
  program.observer = &forbids;
  const uint64_t from = program.upload(std::vector<uint32_t>(32, 5)),
                 to = program.upload(std::vector<uint32_t>(32, 9));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {32, 1, 1}, 0, from, to).kind, Kind::finished);
  const auto results = program.download<uint32_t>(to, 32);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(results[i], i == 31 ? 9u : i % 2 == 1 ? 5u : ~0u) << i;
}

/// All lanes of one warp and of several blocks update one word; the result is the same in every order.
template <class T>
T updated(const std::string& operation, T initial, const std::string& operand) {
  constexpr bool is_long = sizeof(T) == 8;
  const std::string d = is_long ? "%rd5" : "%r5";
  PtxProgram program(entry("k", 1,
                           "cvt.u64.u32 %rd1, %r0; cvt.rn.f32.u32 %f1, %r0; cvt.rn.f64.u32 %d1, %r0; atom." +
                               operation + " " + d + ", [%rd0], " + operand + "; red." + operation +
                               " [%rd0], " + operand + ";"));
  const uint64_t memory = program.upload(std::vector<T>{initial});
  EXPECT_EQ(program.run("k", {2, 1, 1}, {64, 1, 1}, 0, memory).kind, Kind::finished);
  return program.download<T>(memory, 1)[0];
}

TEST(Atomic, Updates) {
  constexpr uint32_t sum = 4 * 63 * 64 / 2;  // 0 to 63, twice in each of two blocks
  EXPECT_EQ(updated<uint32_t>("global.add.u32", 5, "%r0"), 5 + sum);
  EXPECT_EQ(updated<int32_t>("global.add.s32", -5, "%r0"), static_cast<int32_t>(sum) - 5);
  EXPECT_EQ(updated<uint64_t>("global.add.u64", 1ull << 40, "%rd1"), (1ull << 40) + sum);
  EXPECT_EQ(updated<float>("global.add.f32", 0.5f, "%f1"), sum + 0.5f);
  EXPECT_EQ(updated<double>("global.add.f64", 0.5, "%d1"), sum + 0.5);
  EXPECT_EQ(updated<uint32_t>("global.max.u32", 7, "%r0"), 63u);
  EXPECT_EQ(updated<int32_t>("global.min.s32", 7, "%r0"), 0);
  EXPECT_EQ(updated<int32_t>("global.max.s32", -7, "%r0"), 63);
  EXPECT_EQ(updated<uint64_t>("global.max.u64", 100, "%rd1"), 100u);
  EXPECT_EQ(updated<int64_t>("global.min.s64", -100, "%rd1"), -100);
  EXPECT_EQ(updated<uint32_t>("global.or.b32", 0x100, "%r0"), 0x13fu);
  EXPECT_EQ(updated<uint32_t>("global.and.b32", 0x1ff, "%r0"), 0u);
  EXPECT_EQ(updated<uint32_t>("global.xor.b32", 5, "%r0"), 5u);
  EXPECT_EQ(updated<uint32_t>("relaxed.gpu.global.inc.u32", 0, "9"), 256u % 10);
  EXPECT_EQ(updated<uint32_t>("acq_rel.sys.global.dec.u32", 0, "9"), (10 - 256 % 10) % 10u);
}

TEST(Atomic, ReturnsTheOldValueOncePerThread) {
  PtxProgram program(
      entry("k", 2,
            ".shared .u32 ticket; setp.eq.u32 %p1, %r0, 0; @%p1 st.shared.u32 [ticket], 0; bar.sync 0; "
            "atom.shared.add.u32 %r1, [ticket], 1;"
            "mad.wide.u32 %rd2, %r1, 4, %rd1; atom.global.exch.b32 %r2, [%rd2], %r0; atom.global.cas.b32 "
            "%r3, [%rd0], 0, 77; setp.eq.u32 %p2, %r3, 0; @%p2 red.global.add.u32 [%rd0+4], 1;"));
  const uint64_t flag = program.upload(std::vector<uint32_t>{0, 0}),
                 slots = program.upload(std::vector<uint32_t>(128, ~0u));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {128, 1, 1}, 0, flag, slots).kind, Kind::finished);
  EXPECT_EQ(program.download<uint32_t>(flag, 2), (std::vector<uint32_t>{77, 1}));
  auto threads = program.download<uint32_t>(slots, 128);
  std::ranges::sort(threads);
  for (uint32_t i = 0; i < 128; ++i) EXPECT_EQ(threads[i], i);
}

TEST(Atomic, PairsOfHalves) {
  // 1 and 2 plus 32 times 1 and 0.5: 33 and 18 in both formats.
  const auto add = [](const std::string& type, uint32_t initial, const std::string& operand) {
    PtxProgram program(entry("k", 1, "atom.global.add.noftz." + type + " %r1, [%rd0], " + operand + ";"));
    const uint64_t memory = program.upload(std::vector<uint32_t>{initial});
    program.run("k", {1, 1, 1}, {32, 1, 1}, 0, memory);
    return program.download<uint32_t>(memory, 1)[0];
  };
  EXPECT_EQ(add("bf16x2", 0x40003f80, "0x3f003f80"), 0x41904204u);
  EXPECT_EQ(add("f16x2", 0x40003c00, "0x38003c00"), 0x4c805020u);
}

TEST(Atomic, CompareAndSwapOf64Bits) {
  PtxProgram program(entry("k", 1,
                           "atom.global.cas.b64 %rd1, [%rd0], 5, 6; atom.cas.b64 %rd2, [%rd0], 5, 7; "
                           "atom.exch.b64 %rd3, [%rd0+8], %rd2;"));
  const uint64_t memory = program.upload(std::vector<uint64_t>{5, 0});
  EXPECT_EQ(program.run("k", {1, 1, 1}, {1, 1, 1}, 0, memory).kind, Kind::finished);
  EXPECT_EQ(program.download<uint64_t>(memory, 2), (std::vector<uint64_t>{6, 6}));
}

}  // namespace
}  // namespace simulated_gpu
