#pragma once
// Executes one PTX instruction on many inputs at once, one thread each, and compares with a formula written
// in the test.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/simulated_gpu/tests/ptx_program.h"

namespace simulated_gpu {

/// `instruction` uses d for its result and a, b, c, e for its sources, each a register of the size of its C++
/// type; p and q are spare predicates.  Several statements may be given; a trailing `;` is added.
template <class D, class... S>
std::vector<D> evaluate(const std::string& instruction, const std::vector<S>&... inputs) {
  constexpr size_t count = sizeof...(S);
  const std::array<size_t, count> lengths{inputs.size()...}, sizes{sizeof(S)...};
  constexpr char names[] = "abce";
  std::string body = ".reg .pred p, q; .reg .b" + std::to_string(8 * sizeof(D)) + " d;\n";
  for (size_t index = 0; index < count; ++index) {
    const std::string bits = std::to_string(8 * sizes[index]), name(1, names[index]);
    const std::string place = "%rd" + std::to_string(10 + index);
    body += ".reg .b" + bits + " " + name + ";\n";
    body += "mad.wide.u32 " + place + ", %r0, " + std::to_string(sizes[index]) + ", %rd" +
            std::to_string(index) + ";\n";
    body += "ld.global.b" + bits + " " + name + ", [" + place + "];\n";
  }
  body += instruction + ";\n";
  body += "mad.wide.u32 %rd20, %r0, " + std::to_string(sizeof(D)) + ", %rd" + std::to_string(count) + ";\n";
  body += "st.global.b" + std::to_string(8 * sizeof(D)) + " [%rd20], d;";
  PtxProgram program(entry("evaluate", count + 1, body));
  const size_t threads = lengths[0];
  const uint64_t result = program.upload(std::vector<D>(threads));
  const Outcome outcome = program.run("evaluate", {1, 1, 1}, {static_cast<uint32_t>(threads), 1, 1}, 0,
                                      program.upload(inputs)..., result);
  EXPECT_EQ(outcome.kind, Outcome::Kind::finished) << outcome.text;
  EXPECT_EQ(program.recorder.rules(), "");
  return program.download<D>(result, threads);
}

/// Equal bits, or both NaN.
template <class T>
bool same(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) && std::isnan(b)) return true;
  }
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <class D, class S, class Formula>
void expect_unary(const std::string& instruction, const std::vector<S>& values, Formula formula) {
  const std::vector<D> results = evaluate<D>(instruction, values);
  for (size_t i = 0; i < values.size(); ++i) {
    const D expected = formula(values[i]);
    EXPECT_TRUE(same(results[i], expected))
        << instruction << " of " << +values[i] << ": " << +results[i] << ", not " << +expected;
  }
}

/// All pairs of the values; at most 32 of them.
template <class D, class S, class T, class Formula>
void expect_binary(const std::string& instruction, const std::vector<S>& first, const std::vector<T>& second,
                   Formula formula) {
  std::vector<S> a;
  std::vector<T> b;
  for (const S x : first) {
    for (const T y : second) {
      a.push_back(x);
      b.push_back(y);
    }
  }
  const std::vector<D> results = evaluate<D>(instruction, a, b);
  for (size_t i = 0; i < a.size(); ++i) {
    const D expected = formula(a[i], b[i]);
    EXPECT_TRUE(same(results[i], expected))
        << instruction << " of " << +a[i] << ", " << +b[i] << ": " << +results[i] << ", not " << +expected;
  }
}

template <class D, class S, class Formula>
void expect_binary(const std::string& instruction, const std::vector<S>& values, Formula formula) {
  expect_binary<D>(instruction, values, values, formula);
}

/// All triples; at most 10 values.
template <class D, class S, class C, class Formula>
void expect_ternary(const std::string& instruction, const std::vector<S>& values, const std::vector<C>& third,
                    Formula formula) {
  std::vector<S> a, b;
  std::vector<C> c;
  for (const S x : values) {
    for (const S y : values) {
      for (const C z : third) {
        a.push_back(x);
        b.push_back(y);
        c.push_back(z);
      }
    }
  }
  const std::vector<D> results = evaluate<D>(instruction, a, b, c);
  for (size_t i = 0; i < a.size(); ++i) {
    const D expected = formula(a[i], b[i], c[i]);
    EXPECT_TRUE(same(results[i], expected)) << instruction << " of " << +a[i] << ", " << +b[i] << ", "
                                            << +c[i] << ": " << +results[i] << ", not " << +expected;
  }
}

}  // namespace simulated_gpu
