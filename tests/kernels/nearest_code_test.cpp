#include "kernels/nearest_code.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "kernels/squared_error.h"
#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<int32_t> nearest(const std::vector<float>& x, const std::vector<float>& codes, int64_t width,
                             Isa isa) {
  CpuEngine engine(1, isa);
  const Stream stream = engine.stream();
  const int64_t rows = std::ssize(x) / width;
  const Tensor chosen = Tensor::empty({rows}, DType::i32, stream);
  nearest_code(Tensor::from(x, {rows, width}, stream),
               Tensor::from(codes, {std::ssize(codes) / width, width}, stream), chosen, stream);
  return chosen.to_vector<int32_t>();
}

TEST(NearestCode, TheLowerNumberWinsTies) {
  // Codes 20 and 3 are equal, and lie in other lanes and vectors.
  std::vector<float> codes(40, 9.0f);
  codes[3] = codes[20] = codes[35] = 1;
  for (const Isa isa : vector_levels())
    EXPECT_EQ(nearest({1, 1.25f, 9, 5}, codes, 1, isa), (std::vector<int32_t>{3, 3, 0, 0}));
}

TEST(NearestCode, ADistanceThatIsNoNumberIsNeverTheLeast) {
  for (const Isa isa : vector_levels()) {
    EXPECT_EQ(nearest({1, kNaN, kInfinity}, {kNaN, kInfinity, 7}, 1, isa), (std::vector<int32_t>{2, 0, 0}));
    EXPECT_EQ(nearest({1}, {kNaN, kNaN}, 1, isa), (std::vector<int32_t>{0}));
  }
}

TEST(NearestCode, RefusesWhatDoesNotFit) {
  CpuEngine engine;
  const Stream stream = engine.stream();
  const auto f32 = [&](Shape shape) { return Tensor::zeros(shape, DType::f32, stream); };
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const Tensor chosen = Tensor::zeros({2}, DType::i32, stream);
  EXPECT_EQ(message([&] {
              nearest_code(f32({2, 3}), f32({4, 2}), chosen, stream);
            }),
            "nearest_code: codes must be [4, 3] f32, got [4, 2] f32");
  EXPECT_EQ(message([&] {
              nearest_code(f32({2, 3}), f32({0, 3}), chosen, stream);
            }),
            "nearest_code: codes must be 1 to 16777216 rows, got [0, 3]");
  EXPECT_EQ(message([&] {
              nearest_code(f32({2, 257}), f32({4, 257}), chosen, stream);
            }),
            "nearest_code: x must have 1 to 256 columns, got [2, 257]");
  EXPECT_EQ(message([&] {
              nearest_code(f32({3, 3}), f32({4, 3}), chosen, stream);
            }),
            "nearest_code: chosen must be [3] i32, got [2] i32");
  EXPECT_EQ(message([&] {
              squared_error_forward(f32({2, 3}), f32({3, 2}), f32({2}), stream);
            }),
            "squared_error_forward: target must be [2, 3] f32, got [3, 2] f32");
  EXPECT_EQ(message([&] {
              squared_error_backward({f32({2, 3}), f32({2, 3}), f32({2}), f32({2, 3})}, 1, stream);
            }),
            "squared_error_backward: dtotal must have 1 elements of f32, got [2] f32");
}

}  // namespace
}  // namespace tessera::kernels
