// Rows by number, inversion, picking and expert choice: always the bits of the processor, but for dot
// products.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/embedding.h"
#include "kernels/expert_choice.h"
#include "kernels/permute.h"
#include "tests/kernels/cuda/beside_cpu.h"

namespace tessera::kernels {
namespace {

struct Sizes {
  int64_t rows, slots, width;
};

class CudaRows : public BesideCpuTest {
 protected:
  /// Half of the slots hold row 0, so that there are rows without slots and one with many.
  Tensor draw_index(const Sizes& sizes) {
    std::vector<int32_t> index(static_cast<size_t>(sizes.slots));
    for (size_t slot = 0; slot < index.size(); ++slot)
      if (random_below(1, Purpose("other"), slot, 2))
        index[slot] =
            static_cast<int32_t>(random_below(1, Purpose("row"), slot, static_cast<uint64_t>(sizes.rows)));
    return numbers(index);
  }

  void expect_combine_like_cpu(const Sizes& sizes, DType dtype, const Tensor& index, const Tensor& gates) {
    const auto [rows, slots, width] = sizes;
    const Tensor x = uniform("x", {slots, width}, dtype), dy = uniform("dy", {rows, width}, dtype);
    const Tensor offsets = unwritten({rows + 1}, DType::i32), by_row = unwritten({slots}, DType::i32);
    invert(index, offsets, by_row, cpu());
    expect_same_bits({"combine",
                      {x, gates, offsets, by_row},
                      {unwritten({rows, width}, dtype)},
                      [](auto& in, auto& out, Stream s) {
                        combine(in[0], in[1], {in[2], in[3]}, out[0], s);
                      }});
    expect_same_bits({"combine_backward without dgates",
                      {gates, index, dy},
                      {unwritten({slots, width}, dtype)},
                      [](auto& in, auto& out, Stream s) {
                        combine_backward({Tensor(), in[0], in[1], in[2], out[0], Tensor()}, s);
                      }});
    expect_like_cpu({"combine_backward",
                     {x, gates, index, dy},
                     {unwritten({slots, width}, dtype), unwritten({slots}, DType::f32)},
                     [](auto& in, auto& out, Stream s) {
                       combine_backward({in[0], in[1], in[2], in[3], out[0], out[1]}, s);
                     }},
                    {{}, {.terms = 2 * width, .bf16_stores = 0}});
  }

  void expect_choice_like_cpu(const Shape& scores_shape, int64_t column, int64_t experts,
                              const std::vector<int64_t>& pools, const std::vector<int64_t>& counts) {
    const Tensor scores = uniform("scores", scores_shape);
    for (float& score : scores.values<float>()) score = std::round(score * 8) / 8;  // with ties
    if (scores.count() > 100) {
      scores.values<float>()[13] = std::numeric_limits<float>::quiet_NaN();
      scores.values<float>()[25] = -0.0f;
      scores.values<float>()[37] = -std::numeric_limits<float>::infinity();
    }
    std::vector<int32_t> candidates(static_cast<size_t>(scores_shape[0]));
    std::iota(candidates.begin(), candidates.end(), 0);
    const auto left_out = std::ssize(candidates) - pools.back(), at = pools.back() / 2;
    candidates.erase(candidates.begin() + at, candidates.begin() + at + left_out);
    const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    expect_same_bits({str("expert_choice from ", scores_shape),
                      {scores, numbers(candidates)},
                      {unwritten({experts, total}, DType::i32)},
                      [&](auto& in, auto& out, Stream s) {
                        expert_choice(in[0], in[1], out[0], {column, pools, counts}, s);
                      }});
  }
};

constexpr DType kFloats[] = {DType::f32, DType::bf16};
constexpr Sizes kSizes[] = {{1, 1, 1},    {5, 0, 8},       {33, 129, 31}, {127, 33, 64},
                            {40, 700, 8}, {1100, 100, 16}, {7, 9, 0},     {5, 9, 1100}};

TEST_F(CudaRows, GatheredAndSummedRowsHaveTheBitsOfTheProcessor) {
  for (const DType dtype : kFloats)
    for (const Sizes& sizes : kSizes) {
      const auto [rows, slots, width] = sizes;
      SCOPED_TRACE(str(rows, " rows, ", slots, " slots, width ", width, ", ", dtype));
      const Tensor x = uniform("x", {rows, width}, dtype), index = draw_index(sizes);
      expect_same_bits(
          {"gather", {x, index}, {unwritten({slots, width}, dtype)}, [](auto& in, auto& out, Stream s) {
             gather(in[0], in[1], out[0], s);
           }});
      expect_same_bits({"embedding_forward",
                        {index, x},
                        {unwritten({slots, width}, dtype)},
                        [](auto& in, auto& out, Stream s) { embedding_forward(in[0], in[1], out[0], s); }});
      expect_same_bits({"embedding_backward",
                        {index, uniform("dy", {slots, width}, dtype)},
                        {unwritten({rows, width}, DType::f32)},
                        [](auto& in, auto& out, Stream s) { embedding_backward(in[0], in[1], out[0], s); }});
      for (const Tensor& gates : {Tensor(), uniform("gates", {slots})})
        expect_combine_like_cpu(sizes, dtype, index, gates);
    }
}

TEST_F(CudaRows, StoredRowsHaveTheBitsOfTheProcessor) {
  for (const DType dtype : kFloats)
    for (const auto& [rows, slots, width] :
         {Sizes{1, 1, 1}, {5, 0, 8}, {129, 33, 31}, {127, 127, 64}, {40, 7, 1100}, {9, 5, 0}}) {
      std::vector<int32_t> index;
      for (int64_t slot = 0; slot < slots; ++slot)
        index.push_back(static_cast<int32_t>(random_permutation(
            1, Purpose("store"), static_cast<uint64_t>(rows), static_cast<uint64_t>(slot))));
      expect_same_bits({str("store_rows ", slots, " of ", rows, ", width ", width, ", ", dtype),
                        {uniform("x", {slots, width}, dtype), numbers(index)},
                        {uniform("y", {rows, width}, dtype)},
                        [](auto& in, auto& out, Stream s) { store_rows(in[0], in[1], out[0], s); }});
    }
}

/// More slots than the least size of all chunks together: chunks grow.
TEST_F(CudaRows, InversionKeepsSlotsInOrder) {
  for (const Sizes& sizes :
       {Sizes{1, 1, 0}, {5, 0, 0}, {33, 129, 0}, {1100, 100, 0}, {3, 2000, 0}, {17, 20000, 0}}) {
    expect_same_bits({str("invert ", sizes.slots, " slots of ", sizes.rows, " rows"),
                      {draw_index(sizes)},
                      {unwritten({sizes.rows + 1}, DType::i32), unwritten({sizes.slots}, DType::i32)},
                      [](auto& in, auto& out, Stream s) { invert(in[0], out[0], out[1], s); }});
  }
}

TEST_F(CudaRows, PickedElementsHaveTheBitsOfTheProcessor) {
  for (const auto& [rows, cols, longest] : {Sizes{1, 1, 1}, {33, 5, 7}, {700, 3, 513}, {9, 4, 0}}) {
    std::vector<int64_t> columns = {0};
    std::vector<int32_t> index;
    for (int64_t col = 0; col < cols; ++col) {
      for (int64_t k = col; k < longest; ++k) index.push_back(static_cast<int32_t>((k + 3 * col) % rows));
      columns.push_back(std::ssize(index));
    }
    const Shape slots = {std::ssize(index)};
    expect_same_bits({str("pick from ", rows, "x", cols),
                      {uniform("x", {rows, cols}), numbers(index)},
                      {unwritten(slots, DType::f32)},
                      [&](auto& in, auto& out, Stream s) { pick(in[0], in[1], columns, out[0], s); }});
    expect_same_bits(
        {str("pick_backward to ", rows, "x", cols),
         {uniform("dy", slots), numbers(index)},
         {uniform("dx", {rows, cols})},
         [&](auto& in, auto& out, Stream s) { pick_backward(in[0], in[1], columns, out[0], s); }});
  }
}

TEST_F(CudaRows, ExpertsChooseAsOnTheProcessor) {
  expect_choice_like_cpu({1, 1}, 0, 1, {0, 1}, {1});
  expect_choice_like_cpu({5, 3}, 0, 2, {0, 0}, {0});
  expect_choice_like_cpu({70, 9}, 2, 5, {0, 7, 7, 60}, {7, 0, 20});
  expect_choice_like_cpu({600, 40}, 1, 35, {0, 300, 590}, {0, 290});
}

/// A pool whose keys do not fit into shared memory.
TEST_F(CudaRows, ExpertsChooseFromLargePools) {
  expect_choice_like_cpu({12500, 2}, 1, 1, {0, 12400}, {4000});
}

/// What the device finds wrong stops it for good, so that a process of its own tries it.
TEST_F(CudaRows, AnIndexOutOfRangeStopsTheDevice) {
  const auto run = [&](auto* kernel, int64_t x_rows, int64_t y_rows, int32_t row) {
    try {
      const Tensor x = Tensor::zeros({x_rows, 8}, DType::f32, gpu()),
                   y = Tensor::zeros({y_rows, 8}, DType::f32, gpu());
      kernel(x, Tensor::from(std::vector{row}, {1}, gpu()), y, gpu());
      y.to(cpu());
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(1);
    }
    std::_Exit(0);
  };
  using Kernel = void(const Tensor&, const Tensor&, const Tensor&, Stream);
  const auto gather_row = [&](int32_t row) { run(static_cast<Kernel*>(gather), 4, 1, row); };
  const auto store_row = [&](int32_t row) { run(static_cast<Kernel*>(store_rows), 1, 4, row); };
  EXPECT_EXIT(gather_row(3), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(gather_row(4), testing::ExitedWithCode(1), "launch failure");
  EXPECT_EXIT(gather_row(-1), testing::ExitedWithCode(1), "launch failure");
  EXPECT_EXIT(store_row(3), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(store_row(4), testing::ExitedWithCode(1), "launch failure");
}

}  // namespace
}  // namespace tessera::kernels
