// Logic, shifts and bit fields, each against a formula that goes bit by bit.

#include "tests/simulated_gpu/tests/ptx_evaluate.h"

namespace simulated_gpu {
namespace {

const std::vector<uint32_t> kWords{0, 1, 2, 0x80000000, 0x7fffffff, ~0u, 0x12345678, 0xdeadbeef, 0x00ff00ff};
const std::vector<uint64_t> kLongs{
    0, 1, uint64_t{1} << 63, ~uint64_t{0}, 0x123456789abcdef0, uint64_t{1} << 32};
const std::vector<uint32_t> kCounts{0, 1, 7, 15, 16, 31, 32, 33, 63, 64, 65, 255, 256, ~0u};

bool bit(uint64_t value, uint64_t position) { return position < 64 && (value >> position & 1) != 0; }

TEST(Bits, Logic) {
  expect_binary<uint32_t>("and.b32 d, a, b", kWords, [](uint32_t a, uint32_t b) { return a & b; });
  expect_binary<uint32_t>("or.b32 d, a, b", kWords, [](uint32_t a, uint32_t b) { return a | b; });
  expect_binary<uint32_t>("xor.b32 d, a, b", kWords, [](uint32_t a, uint32_t b) { return a ^ b; });
  expect_binary<uint64_t>("xor.b64 d, a, b", kLongs, [](uint64_t a, uint64_t b) { return a ^ b; });
  expect_unary<uint32_t>("not.b32 d, a", kWords, [](uint32_t a) { return ~a; });
  expect_unary<uint64_t>("not.b64 d, a", kLongs, [](uint64_t a) { return ~a; });
  expect_unary<uint16_t>("not.b16 d, a", std::vector<uint16_t>{0, 1, 0xffff},
                         [](uint16_t a) { return static_cast<uint16_t>(~a); });
}

TEST(Bits, LogicOfPredicates) {
  const std::vector<uint32_t> values{0, 1};
  const std::string begin = "setp.ne.u32 p, a, 0; setp.ne.u32 q, b, 0; ", end = "; selp.u32 d, 1, 0, p";
  expect_binary<uint32_t>(begin + "and.pred p, p, q" + end, values,
                          [](uint32_t a, uint32_t b) { return a & b; });
  expect_binary<uint32_t>(begin + "or.pred p, p, q" + end, values,
                          [](uint32_t a, uint32_t b) { return a | b; });
  expect_binary<uint32_t>(begin + "xor.pred p, p, q" + end, values,
                          [](uint32_t a, uint32_t b) { return a ^ b; });
  expect_binary<uint32_t>(begin + "not.pred p, q" + end, values, [](uint32_t, uint32_t b) { return 1 - b; });
  expect_binary<uint32_t>(begin + "and.pred p, p, !q" + end, values,
                          [](uint32_t a, uint32_t b) { return a & (1 - b); });
  expect_binary<uint32_t>(begin + "mov.pred p, 1" + end, values, [](uint32_t, uint32_t) { return 1u; });
}

TEST(Bits, ShiftsBeyondTheWidth) {
  expect_binary<uint32_t>("shl.b32 d, a, b", kWords, kCounts,
                          [](uint32_t a, uint32_t n) { return n > 31 ? 0 : a << n; });
  expect_binary<uint32_t>("shr.u32 d, a, b", kWords, kCounts,
                          [](uint32_t a, uint32_t n) { return n > 31 ? 0 : a >> n; });
  expect_binary<uint32_t>("shr.b32 d, a, b", kWords, kCounts,
                          [](uint32_t a, uint32_t n) { return n > 31 ? 0 : a >> n; });
  expect_binary<uint32_t>("shr.s32 d, a, b", kWords, kCounts, [](uint32_t a, uint32_t n) {
    const uint32_t sign = bit(a, 31) ? ~0u : 0;
    return n > 31 ? sign : n == 0 ? a : a >> n | sign << (32 - n);
  });
  expect_binary<uint64_t>("shl.b64 d, a, b", kLongs, kCounts,
                          [](uint64_t a, uint32_t n) { return n > 63 ? 0 : a << n; });
  expect_binary<uint64_t>("shr.s64 d, a, b", kLongs, kCounts, [](uint64_t a, uint32_t n) {
    const uint64_t sign = bit(a, 63) ? ~uint64_t{0} : 0;
    return n > 63 ? sign : n == 0 ? a : a >> n | sign << (64 - n);
  });
  expect_binary<uint16_t>("shr.s16 d, a, b", std::vector<uint16_t>{0x8000, 0x7fff, 1}, kCounts,
                          [](uint16_t a, uint32_t n) {
                            const uint32_t sign = bit(a, 15) ? 0xffff0000u : 0;
                            return static_cast<uint16_t>(n > 15 ? sign >> 16 : (sign | a) >> n);
                          });
  expect_binary<uint16_t>("shl.b16 d, a, b", std::vector<uint16_t>{0x8000, 0x7fff, 1}, kCounts,
                          [](uint16_t a, uint32_t n) { return static_cast<uint16_t>(n > 15 ? 0 : a << n); });
}

TEST(Bits, FunnelShifts) {
  const auto shift = [](const char* instruction, bool left, bool wraps) {
    expect_ternary<uint32_t>(instruction, std::vector<uint32_t>{0, 1, 0x80000000, 0xdeadbeef}, kCounts,
                             [=](uint32_t a, uint32_t b, uint32_t n) {
                               n = wraps ? n % 32 : n > 32 ? 32 : n;
                               uint32_t result = 0;
                               for (uint32_t i = 0; i < 32; ++i) {
                                 const uint32_t from = left ? 32 + i - n : i + n;
                                 result |= static_cast<uint32_t>(from < 32 ? bit(a, from) : bit(b, from - 32))
                                           << i;
                               }
                               return result;
                             });
  };
  shift("shf.l.wrap.b32 d, a, b, c", true, true);
  shift("shf.r.wrap.b32 d, a, b, c", false, true);
  shift("shf.l.clamp.b32 d, a, b, c", true, false);
  shift("shf.r.clamp.b32 d, a, b, c", false, false);
}

TEST(Bits, CountsAndPositions) {
  const auto count = [](uint64_t a) {
    uint32_t ones = 0;
    for (uint64_t i = 0; i < 64; ++i) ones += bit(a, i);
    return ones;
  };
  const auto highest = [](uint64_t a) {
    int position = 63;
    while (position >= 0 && !bit(a, static_cast<uint64_t>(position))) --position;
    return position;
  };
  expect_unary<uint32_t>("popc.b32 d, a", kWords, count);
  expect_unary<uint32_t>("popc.b64 d, a", kLongs, count);
  expect_unary<uint32_t>("clz.b32 d, a", kWords,
                         [&](uint32_t a) { return static_cast<uint32_t>(31 - highest(a)); });
  expect_unary<uint32_t>("clz.b64 d, a", kLongs,
                         [&](uint64_t a) { return static_cast<uint32_t>(63 - highest(a)); });
  expect_unary<uint32_t>("bfind.u32 d, a", kWords,
                         [&](uint32_t a) { return static_cast<uint32_t>(highest(a)); });
  expect_unary<uint32_t>("bfind.s32 d, a", kWords,
                         [&](uint32_t a) { return static_cast<uint32_t>(highest(bit(a, 31) ? ~a : a)); });
  expect_unary<uint32_t>("bfind.shiftamt.u32 d, a", kWords,
                         [&](uint32_t a) { return a == 0 ? ~0u : static_cast<uint32_t>(31 - highest(a)); });
  expect_unary<uint32_t>("bfind.u64 d, a", kLongs,
                         [&](uint64_t a) { return static_cast<uint32_t>(highest(a)); });
}

TEST(Bits, Reverses) {
  expect_unary<uint32_t>("brev.b32 d, a", kWords, [](uint32_t a) {
    uint32_t result = 0;
    for (int i = 0; i < 32; ++i) result = result << 1 | (a >> i & 1);
    return result;
  });
  expect_unary<uint64_t>("brev.b64 d, a", kLongs, [](uint64_t a) {
    uint64_t result = 0;
    for (int i = 0; i < 64; ++i) result = result << 1 | (a >> i & 1);
    return result;
  });
}

TEST(Bits, Fields) {
  const std::vector<uint32_t> sizes{0, 1, 5, 16, 31, 32, 40, 255, 256};
  const auto extract = [](bool is_signed) {
    return [=](uint32_t a, uint32_t position, uint32_t size) {
      position &= 255;
      size &= 255;
      const uint32_t top = std::min(position + size - 1, 31u);
      uint32_t result = 0;
      for (uint32_t i = 0; i < 32; ++i) {
        const bool fill = is_signed && size != 0 && bit(a, top);
        result |= static_cast<uint32_t>(i < size && position + i <= 31 ? bit(a, position + i) : fill) << i;
      }
      return result;
    };
  };
  for (const uint32_t word : {0xdeadbeefu, 0x80000000u, 0x7ffffffeu}) {
    const std::vector<uint32_t> repeated(sizes.size() * sizes.size(), word);
    std::vector<uint32_t> positions, lengths;
    for (const uint32_t p : sizes) {
      for (const uint32_t n : sizes) {
        positions.push_back(p);
        lengths.push_back(n);
      }
    }
    const auto u = evaluate<uint32_t>("bfe.u32 d, a, b, c", repeated, positions, lengths);
    const auto s = evaluate<uint32_t>("bfe.s32 d, a, b, c", repeated, positions, lengths);
    const auto inserted = evaluate<uint32_t>("bfi.b32 d, a, 0x55555555, b, c", repeated, positions, lengths);
    for (size_t i = 0; i < repeated.size(); ++i) {
      EXPECT_EQ(u[i], extract(false)(word, positions[i], lengths[i])) << positions[i] << ", " << lengths[i];
      EXPECT_EQ(s[i], extract(true)(word, positions[i], lengths[i])) << positions[i] << ", " << lengths[i];
      uint32_t expected = 0x55555555;
      for (uint32_t j = 0; j < (lengths[i] & 255) && (positions[i] & 255) + j < 32; ++j) {
        const uint32_t to = 1u << ((positions[i] & 255) + j);
        expected = bit(word, j) ? expected | to : expected & ~to;
      }
      EXPECT_EQ(inserted[i], expected) << positions[i] << ", " << lengths[i];
    }
  }
  EXPECT_EQ(evaluate<uint64_t>("bfi.b64 d, a, 0, 52, 11", std::vector<uint64_t>{0x7ff})[0],
            uint64_t{0x7ff} << 52);
}

TEST(Bits, AnyFunctionOfThree) {
  // The truth tables of the manual: immediates are F(0xf0, 0xcc, 0xaa).
  const std::vector<uint32_t> few{0, ~0u, 0x0f0f1234};
  expect_ternary<uint32_t>("lop3.b32 d, a, b, c, 0x80", few, few,
                           [](uint32_t a, uint32_t b, uint32_t c) { return a & b & c; });
  expect_ternary<uint32_t>("lop3.b32 d, a, b, c, 0xfe", few, few,
                           [](uint32_t a, uint32_t b, uint32_t c) { return a | b | c; });
  expect_ternary<uint32_t>("lop3.b32 d, a, b, c, 0x40", few, few,
                           [](uint32_t a, uint32_t b, uint32_t c) { return a & b & ~c; });
  expect_ternary<uint32_t>("lop3.b32 d, a, b, c, 0xca", few, few,
                           [](uint32_t a, uint32_t b, uint32_t c) { return (a & b) | (~a & c); });
}

TEST(Bits, PermutesBytes) {
  const auto permute = [](uint32_t a, uint32_t b, uint32_t selector) {
    const uint8_t bytes[8] = {static_cast<uint8_t>(a),       static_cast<uint8_t>(a >> 8),
                              static_cast<uint8_t>(a >> 16), static_cast<uint8_t>(a >> 24),
                              static_cast<uint8_t>(b),       static_cast<uint8_t>(b >> 8),
                              static_cast<uint8_t>(b >> 16), static_cast<uint8_t>(b >> 24)};
    uint32_t result = 0;
    for (int i = 3; i >= 0; --i) {
      const uint32_t s = selector >> 4 * i & 15;
      const uint8_t byte = bytes[s % 8];
      result = result << 8 | (s > 7 ? (byte > 127 ? 255u : 0u) : byte);
    }
    return result;
  };
  expect_ternary<uint32_t>("prmt.b32 d, a, b, c", std::vector<uint32_t>{0x03020100, 0x87868584, 0xdeadbeef},
                           std::vector<uint32_t>{0x3210, 0x7654, 0x5140, 0x88cf, 0xb9a8}, permute);
}

}  // namespace
}  // namespace simulated_gpu
