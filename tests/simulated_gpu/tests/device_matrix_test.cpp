// ldmatrix, stmatrix and mma against the index formulas of PTX ISA 9.0, section 9.7.14.5, and the closed loop
// of all three.

#include <cmath>

#include "tests/simulated_gpu/device/number.h"
#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

using Kind = Outcome::Kind;

/// Shared memory holds 32 rows of 8 halves, number 8 row + column; row r comes from lane r.
std::string matrix_kernel(const std::string& work) {
  return entry("k", 1,
               ".shared .align 16 .b8 s[512]; mov.u32 %r1, s; mad.lo.u32 %r2, %r0, 16, %r1; mul.lo.u32 %r3, "
               "%r0, 8; cvt.u16.u32 %h1, %r3;"
               "add.u16 %h2, %h1, 1; add.u16 %h3, %h1, 2; add.u16 %h4, %h1, 3; add.u16 %h5, %h1, 4; add.u16 "
               "%h6, %h1, 5; add.u16 %h7, %h1, 6; add.u16 %h8, %h1, 7;"
               "st.shared.v4.u16 [%r2], {%h1, %h2, %h3, %h4}; st.shared.v4.u16 [%r2+8], {%h5, %h6, %h7, "
               "%h8}; bar.warp.sync -1;"
               "mov.u32 %r11, 0; mov.u32 %r12, 0; mov.u32 %r13, 0; mad.wide.u32 %rd1, %r0, 16, %rd0;" +
                   work + "st.global.v4.u32 [%rd1], {%r10, %r11, %r12, %r13};");
}

std::vector<uint32_t> run_matrix(const std::string& work) {
  PtxProgram program(matrix_kernel(work));
  const uint64_t to = program.upload(std::vector<uint32_t>(128));
  const Outcome outcome = program.run("k", {1, 1, 1}, {32, 1, 1}, 0, to);
  EXPECT_EQ(outcome.kind, Kind::finished) << outcome.text;
  EXPECT_EQ(program.recorder.rules(), "");
  return program.download<uint32_t>(to, 128);
}

/// Register i of a lane holds row lane / 4, columns 2 (lane % 4) and the next, of matrix i; with .trans row
/// and column change.
uint32_t fragment(uint32_t lane, uint32_t matrix, bool is_transposed) {
  const uint32_t row = lane / 4, column = 2 * (lane % 4);
  const auto element = [&](uint32_t r, uint32_t c) {
    return 64 * matrix + (is_transposed ? 8 * c + r : 8 * r + c);
  };
  return element(row, column) | element(row, column + 1) << 16;
}

TEST(Matrix, LoadsFragments) {
  for (const bool is_transposed : {false, true}) {
    const std::string trans = is_transposed ? ".trans" : "";
    const auto one = run_matrix("ldmatrix.sync.aligned.m8n8.x1" + trans + ".shared.b16 {%r10}, [%r2];");
    const auto two = run_matrix("ldmatrix.sync.aligned.m8n8.x2" + trans + ".shared.b16 {%r10, %r11}, [%r2];");
    const auto four = run_matrix("ldmatrix.sync.aligned.m8n8.x4" + trans +
                                 ".shared::cta.b16 {%r10, %r11, %r12, %r13}, [%r2];");
    for (uint32_t lane = 0; lane < 32; ++lane) {
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t expected = fragment(lane, i, is_transposed);
        EXPECT_EQ(four[4 * lane + i], expected) << "lane " << lane << ", matrix " << i;
        EXPECT_EQ(two[4 * lane + i], i < 2 ? expected : 0);
        EXPECT_EQ(one[4 * lane + i], i < 1 ? expected : 0);
      }
    }
  }
}

TEST(Matrix, StoresWhatItLoads) {
  // Loaded plainly and stored transposed, each matrix comes back transposed.
  const auto back = run_matrix(
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r20, %r21, %r22, %r23}, [%r2]; bar.warp.sync -1;"
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%r2], {%r20, %r21, %r22, %r23}; bar.warp.sync -1;"
      "ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r2];");
  for (uint32_t row = 0; row < 32; ++row) {
    for (uint32_t column = 0; column < 8; ++column) {
      const uint32_t got = back[4 * row + column / 2] >> 16 * (column % 2) & 0xffff;
      EXPECT_EQ(got, row / 8 * 64 + 8 * column + row % 8);
    }
  }
}

TEST(Matrix, OutsideSharedMemory) {
  PtxProgram program(
      matrix_kernel("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r2+16];"));
  const uint64_t to = program.upload(std::vector<uint32_t>(128));
  EXPECT_EQ(program.run("k", {1, 1, 1}, {32, 1, 1}, 0, to).kind, Kind::trapped);
  EXPECT_EQ(program.recorder.rules(), "address");
  // The two lower matrices end before the end: the same instruction is legal.
  run_matrix("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r10, %r11}, [%r2+16];");
}

/// Element types of mma with small integers, whose products and sums are exact in all of them.
struct Shape {
  std::string type;
  uint32_t depth, per_register;
};

uint32_t bits_of(const Shape& shape, int value) {
  const auto number = static_cast<float>(value);
  if (shape.type == "tf32") return bits_as<uint32_t>(number);
  return encode(number, shape.type == "f16" ? kF16 : kBf16, Rounding::nearest);
}

/// Two rows of a are not alike, nor two columns of b.
int a_value(uint32_t row, uint32_t k) { return static_cast<int>((row * 7 + k * 3) % 11) - 5; }
int b_value(uint32_t k, uint32_t column) { return static_cast<int>((column * 5 + k * 2) % 9) - 4; }
int c_value(uint32_t row, uint32_t column) { return static_cast<int>(row * 8 + column) - 60; }

/// Places the fragments by the formulas of the manual, multiplies, and reads c back by its formula.
void expect_product(const Shape& shape) {
  const uint32_t per = shape.per_register, a_count = shape.depth / (4 * per) * 2, b_count = a_count / 2;
  std::vector<uint32_t> fragments(32 * 16);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t group = lane / 4, thread = lane % 4;
    for (uint32_t i = 0; i < a_count * per; ++i) {
      // 16 bits: row = group for i % 4 < 2, else group + 8; k = 2 thread + i % 2, + 8 for i >= 4.  tf32: a1
      // and a3 are the rows below, a2 and a3 have k + 4.
      const uint32_t row = per == 2 ? group + (i % 4 < 2 ? 0 : 8) : group + (i % 2) * 8;
      const uint32_t k = per == 2 ? 2 * thread + i % 2 + (i >= 4 ? 8 : 0) : thread + (i >= 2 ? 4 : 0);
      fragments[lane * 16 + i / per] |= bits_of(shape, a_value(row, k)) << (16 * (i % per));
    }
    for (uint32_t i = 0; i < b_count * per; ++i) {
      const uint32_t k = per == 2 ? 2 * thread + i % 2 + (i >= 2 ? 8 : 0) : thread + 4 * i;
      fragments[lane * 16 + 4 + i / per] |= bits_of(shape, b_value(k, group)) << (16 * (i % per));
    }
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t row = group + (i < 2 ? 0 : 8), column = 2 * thread + i % 2;
      fragments[lane * 16 + 8 + i] = bits_as<uint32_t>(static_cast<float>(c_value(row, column)));
    }
  }
  const std::string a = a_count == 4 ? "{%r4, %r5, %r6, %r7}" : "{%r4, %r5}",
                    b = b_count == 2 ? "{%r8, %r9}" : "{%r8}";
  PtxProgram program(
      entry("k", 2,
            "mad.wide.u32 %rd2, %r0, 64, %rd0; ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%rd2]; "
            "ld.global.v2.u32 {%r8, %r9}, [%rd2+16];"
            "ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd2+32];"
            "mma.sync.aligned.m16n8k" +
                std::to_string(shape.depth) + ".row.col.f32." + shape.type + "." + shape.type +
                ".f32 {%f5, %f6, %f7, %f8}, " + a + ", " + b +
                ", {%f1, %f2, %f3, %f4};"
                "mad.wide.u32 %rd3, %r0, 16, %rd1; st.global.v4.f32 [%rd3], {%f5, %f6, %f7, %f8};"));
  const uint64_t from = program.upload(fragments), to = program.upload(std::vector<float>(128));
  const Outcome outcome = program.run("k", {1, 1, 1}, {32, 1, 1}, 0, from, to);
  ASSERT_EQ(outcome.kind, Kind::finished) << outcome.text;
  const auto results = program.download<float>(to, 128);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t row = lane / 4 + (i < 2 ? 0 : 8), column = 2 * (lane % 4) + i % 2;
      int expected = c_value(row, column);
      for (uint32_t k = 0; k < shape.depth; ++k) expected += a_value(row, k) * b_value(k, column);
      EXPECT_EQ(results[4 * lane + i], static_cast<float>(expected))
          << shape.type << " row " << row << ", column " << column;
    }
  }
}

TEST(Matrix, MultipliesByTheFormulasOfTheManual) {
  expect_product({"bf16", 16, 2});
  expect_product({"f16", 16, 2});
  expect_product({"bf16", 8, 2});
  expect_product({"f16", 8, 2});
  expect_product({"tf32", 8, 1});
}

/// a [16, 16] in rows, b [16, 8] in rows (so that .trans is needed), through shared memory: the product is
/// the plain one.
TEST(Matrix, ClosedLoop) {
  std::vector<uint16_t> a(256), b(128);
  for (uint32_t row = 0; row < 16; ++row) {
    for (uint32_t k = 0; k < 16; ++k) a[16 * row + k] = bf16_bits(static_cast<float>(a_value(row, k)));
    for (uint32_t column = 0; column < 8; ++column)
      b[8 * row + column] = bf16_bits(static_cast<float>(b_value(row, column)));
  }
  PtxProgram program(
      entry("k", 3,
            ".shared .align 16 .b8 sa[512]; .shared .align 16 .b8 sb[256]; mov.u32 %r1, sa; mov.u32 %r2, sb;"
            "mad.lo.u32 %r3, %r0, 16, %r1; mad.wide.u32 %rd3, %r0, 16, %rd0; cp.async.cg.shared.global "
            "[%r3], [%rd3], 16;"
            "mad.lo.u32 %r4, %r0, 8, %r2; mad.wide.u32 %rd4, %r0, 8, %rd1; cp.async.ca.shared.global [%r4], "
            "[%rd4], 8;"
            "cp.async.wait_all; bar.sync 0;"
            // Lane l gives row l % 16 of a, its left or right half; row l % 16 of b.
            "and.b32 %r5, %r0, 15; shr.u32 %r6, %r0, 4; mad.lo.u32 %r7, %r5, 32, %r1; mad.lo.u32 %r7, %r6, "
            "16, %r7; mad.lo.u32 %r8, %r5, 16, %r2;"
            "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r7];"
            "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r14, %r15}, [%r8];"
            "mov.f32 %f1, 0f00000000; mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, "
            "%f5}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f1, %f1, %f1, %f1};"
            "shr.u32 %r16, %r0, 2; and.b32 %r17, %r0, 3; mad.lo.u32 %r18, %r16, 8, 0; mad.lo.u32 %r18, %r17, "
            "2, %r18; mad.wide.u32 %rd5, %r18, 4, %rd2;"
            "st.global.v2.f32 [%rd5], {%f2, %f3}; st.global.v2.f32 [%rd5+256], {%f4, %f5};"));
  const uint64_t da = program.upload(a), db = program.upload(b), dc = program.upload(std::vector<float>(128));
  for (const bool independent : {false, true}) {
    program.schedule.independent_lanes = independent;
    const Outcome outcome = program.run("k", {1, 1, 1}, {32, 1, 1}, 0, da, db, dc);
    ASSERT_EQ(outcome.kind, Kind::finished) << outcome.text;
    const auto c = program.download<float>(dc, 128);
    for (uint32_t row = 0; row < 16; ++row) {
      for (uint32_t column = 0; column < 8; ++column) {
        int expected = 0;
        for (uint32_t k = 0; k < 16; ++k) expected += a_value(row, k) * b_value(k, column);
        EXPECT_EQ(c[8 * row + column], static_cast<float>(expected));
      }
    }
  }
}

/// The sum is rounded once: 2^24 + 1 + ... + 1 keeps every one, which a sum in f32 would lose.
TEST(Matrix, AccumulatesBeforeItRounds) {
  const std::vector<uint32_t> lane_values(32, 0x3f803f80);
  const auto sums = evaluate<float>(
      ".reg .b32 t<3>; mov.b32 t0, 0f4B800000; mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {d, _, _, "
      "_}, {a, a, a, a}, {a, a}, {t0, t0, t0, t0}",
      lane_values);
  for (const float sum : sums) EXPECT_EQ(sum, 16777216.0f + 16);
}

}  // namespace
}  // namespace simulated_gpu
