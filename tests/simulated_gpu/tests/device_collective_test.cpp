// shfl, vote, redux, match, activemask, bar.warp.

#include <algorithm>
#include <numeric>

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

std::vector<uint32_t> lanes(uint32_t factor = 1, uint32_t offset = 0) {
  std::vector<uint32_t> values(32);
  for (uint32_t i = 0; i < 32; ++i) values[i] = i * factor + offset;
  return values;
}

/// The manual's pseudocode, for segments of `width` lanes as CUDA's __shfl functions ask for them.
struct Shuffled {
  uint32_t lane;
  bool is_in_range;
};
Shuffled shuffled(const std::string& mode, uint32_t lane, uint32_t delta, uint32_t width) {
  const uint32_t first = lane / width * width, last = first + width - 1;
  const int64_t from = mode == "up"     ? int64_t{lane} - delta
                       : mode == "down" ? int64_t{lane} + delta
                       : mode == "bfly" ? int64_t{lane ^ delta}
                                        : int64_t{first + delta % width};
  const bool is_in_range = mode == "up" ? from >= first : from <= last;
  return {is_in_range ? static_cast<uint32_t>(from) : lane, is_in_range};
}

TEST(Collective, ShufflesOfEveryModeAndWidth) {
  for (const std::string mode : {"idx", "up", "down", "bfly"}) {
    for (const uint32_t width : {32u, 16u, 8u, 2u}) {
      const uint32_t c = (32 - width) << 8 | (mode == "up" ? 0 : 31);
      for (const uint32_t delta : {0u, 1u, 3u, 16u, 31u}) {
        const auto results = evaluate<uint32_t>(".reg .b32 t; shfl.sync." + mode + ".b32 t|p, a, " +
                                                    std::to_string(delta) + ", " + std::to_string(c) +
                                                    ", -1; selp.u32 d, 0x10000, 0, p; or.b32 d, d, t",
                                                lanes(1, 100));
        for (uint32_t lane = 0; lane < 32; ++lane) {
          const Shuffled expected = shuffled(mode, lane, delta, width);
          EXPECT_EQ(results[lane], (expected.lane + 100) | (expected.is_in_range ? 0x10000u : 0))
              << mode << " by " << delta << " in " << width << ", lane " << lane;
        }
      }
    }
  }
}

TEST(Collective, ShuffleWithinPartOfAWarp) {
  // The lower and the upper half each shuffle under their own mask, on different paths.
  const auto results = evaluate<uint32_t>(
      "setp.lt.u32 p, a, 16; @p bra LOW; shfl.sync.idx.b32 d, a, 31, 31, 0xffff0000; bra.uni END;"
      "LOW: shfl.sync.idx.b32 d, a, 2, 31, 0x0000ffff; END: ",
      lanes());
  for (uint32_t lane = 0; lane < 32; ++lane) EXPECT_EQ(results[lane], lane < 16 ? 2u : 31u);
}

TEST(Collective, Votes) {
  const std::string odd = "and.b32 d, a, 1; setp.ne.u32 p, d, 0; ";
  EXPECT_EQ(evaluate<uint32_t>(odd + "vote.sync.ballot.b32 d, p, -1", lanes()),
            std::vector<uint32_t>(32, 0xaaaaaaaa));
  EXPECT_EQ(evaluate<uint32_t>(odd + "vote.sync.ballot.b32 d, !p, -1", lanes()),
            std::vector<uint32_t>(32, 0x55555555));
  const auto vote = [&](const std::string& mode, const std::string& condition) {
    return evaluate<uint32_t>(condition + " vote.sync." + mode + ".pred q, p, -1; selp.u32 d, 1, 0, q",
                              lanes())[7];
  };
  const std::string none = "setp.gt.u32 p, a, 99;", some = "setp.eq.u32 p, a, 31;",
                    every = "setp.lt.u32 p, a, 99;";
  EXPECT_EQ(vote("all", none), 0u);
  EXPECT_EQ(vote("all", some), 0u);
  EXPECT_EQ(vote("all", every), 1u);
  EXPECT_EQ(vote("any", none), 0u);
  EXPECT_EQ(vote("any", some), 1u);
  EXPECT_EQ(vote("uni", none), 1u);
  EXPECT_EQ(vote("uni", some), 0u);
  EXPECT_EQ(vote("uni", every), 1u);
}

TEST(Collective, Reductions) {
  const std::vector<uint32_t> values = lanes(0x9e3779b9, 7);
  const auto expect = [&](const std::string& operation, uint32_t expected) {
    EXPECT_EQ(evaluate<uint32_t>("redux.sync." + operation + " d, a, -1", values),
              std::vector<uint32_t>(32, expected))
        << operation;
  };
  const auto fold = [&](auto f) { return std::accumulate(values.begin() + 1, values.end(), values[0], f); };
  expect("add.u32", fold([](uint32_t a, uint32_t b) { return a + b; }));
  expect("add.s32", fold([](uint32_t a, uint32_t b) { return a + b; }));
  expect("max.u32", *std::ranges::max_element(values));
  expect("min.u32", *std::ranges::min_element(values));
  const auto by_sign = [](uint32_t a, uint32_t b) {
    return static_cast<int32_t>(a) < static_cast<int32_t>(b);
  };
  expect("max.s32", *std::ranges::max_element(values, by_sign));
  expect("min.s32", *std::ranges::min_element(values, by_sign));
  expect("and.b32", fold([](uint32_t a, uint32_t b) { return a & b; }));
  expect("or.b32", fold([](uint32_t a, uint32_t b) { return a | b; }));
  expect("xor.b32", fold([](uint32_t a, uint32_t b) { return a ^ b; }));
}

TEST(Collective, Matches) {
  std::vector<uint32_t> values(32);
  for (uint32_t i = 0; i < 32; ++i) values[i] = i % 3 == 0 ? 9 : i % 5;
  const auto any = evaluate<uint32_t>("match.any.sync.b32 d, a, -1", values);
  std::vector<uint64_t> longs(values.begin(), values.end());
  for (uint64_t& value : longs) value <<= 40;
  const auto any_long = evaluate<uint32_t>("match.any.sync.b64 d, a, -1", longs);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    uint32_t expected = 0;
    for (uint32_t other = 0; other < 32; ++other)
      expected |= static_cast<uint32_t>(values[other] == values[lane]) << other;
    EXPECT_EQ(any[lane], expected);
    EXPECT_EQ(any_long[lane], expected);
  }
  const std::string all = "match.all.sync.b32 d|p, a, -1; @p add.u32 d, d, 5";
  EXPECT_EQ(evaluate<uint32_t>(all, values), std::vector<uint32_t>(32, 0));
  EXPECT_EQ(evaluate<uint32_t>(all, std::vector<uint32_t>(32, 7)), std::vector<uint32_t>(32, 4));
}

TEST(Collective, ActiveLanes) {
  const auto masks = evaluate<uint32_t>("mov.u32 d, 0; setp.lt.u32 p, a, 5; @p activemask.b32 d", lanes());
  for (uint32_t lane = 0; lane < 32; ++lane) EXPECT_EQ(masks[lane], lane < 5 ? 31u : 0u);
}

TEST(Collective, SpecialRegisters) {
  const auto read = [](const std::string& name) { return evaluate<uint32_t>("mov.u32 d, " + name, lanes()); };
  EXPECT_EQ(read("%laneid"), lanes());
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(read("%lanemask_eq")[lane], 1u << lane);
    EXPECT_EQ(read("%lanemask_lt")[lane], (uint64_t{1} << lane) - 1);
    EXPECT_EQ(read("%lanemask_le")[lane], (uint64_t{2} << lane) - 1);
    EXPECT_EQ(read("%lanemask_gt")[lane], static_cast<uint32_t>(~((uint64_t{2} << lane) - 1)));
    EXPECT_EQ(read("%lanemask_ge")[lane], static_cast<uint32_t>(~((uint64_t{1} << lane) - 1)));
  }
}

TEST(Collective, ThreadsAreNumberedXFirst) {
  PtxProgram program(entry("k", 1,
                           "mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z; mov.u32 %r4, "
                           "%ntid.x; mov.u32 %r5, %ntid.y;"
                           "mov.u32 %r6, %ctaid.x; mov.u32 %r7, %ctaid.y; mov.u32 %r8, %ctaid.z; mov.u32 "
                           "%r9, %nctaid.x; mov.u32 %r10, %nctaid.y;"
                           "mad.lo.u32 %r11, %r3, %r5, %r2; mad.lo.u32 %r11, %r11, %r4, %r1; mad.lo.u32 "
                           "%r12, %r8, %r10, %r7; mad.lo.u32 %r12, %r12, %r9, %r6;"
                           "mov.u32 %r13, %ntid.z; mul.lo.u32 %r14, %r4, %r5; mul.lo.u32 %r14, %r14, %r13; "
                           "mad.lo.u32 %r15, %r12, %r14, %r11;"
                           "mov.u32 %r16, %warpid; mov.u32 %r17, %laneid; mad.lo.u32 %r18, %r16, 32, %r17; "
                           "mad.wide.u32 %rd1, %r15, 4, %rd0; st.global.u32 [%rd1], %r18;"));
  const uint64_t to = program.upload(std::vector<uint32_t>(2 * 3 * 2 * 40, ~0u));
  EXPECT_EQ(program.run("k", {2, 3, 2}, {5, 2, 4}, 0, to).kind, Outcome::Kind::finished);
  const auto results = program.download<uint32_t>(to, 480);
  for (uint32_t i = 0; i < 480; ++i) EXPECT_EQ(results[i], i % 40);
}

}  // namespace
}  // namespace simulated_gpu
