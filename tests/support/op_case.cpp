#include "tests/support/op_case.h"

#include "tests/support/op_table.h"
#include "tests/support/quantise_cases.h"
#include "tests/support/reference.h"

namespace tessera {
namespace op_table {
namespace {

int64_t most_repeats(const Ids& ids) {
  int64_t most = 0;
  for (int32_t id : ids) most = std::max<int64_t>(most, std::count(ids.begin(), ids.end(), id));
  return most;
}

int64_t longest(const Offsets& offsets) {
  int64_t length = 0;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) length = std::max(length, offsets[i + 1] - offsets[i]);
  return length;
}

OpCase embedding_case(int64_t rows, int64_t vocab, int64_t width) {
  const Ids ids = random_ids("ids", rows, vocab);
  return {size_name("embedding", {rows, vocab, width}),
          {{{vocab, width}, {.terms = additions(most_repeats(ids))}}},
          [=](Vars in) { return embedding(tensor_of(ids, in[0].stream()), in[0]); },
          [=](Truth in) { return reference::embedding(ids, in[0], width); }};
}

// One fused multiply-add per factor of the inner size.
OpCase matmul_case(const Offsets& offsets, int64_t in_width, int64_t out_width) {
  const int64_t rows = offsets.back(), groups = std::ssize(offsets) - 1;
  const Shape weight = groups == 1 ? Shape{out_width, in_width} : Shape{groups, out_width, in_width};
  return {size_name("matmul", {groups, rows, in_width, out_width}),
          {{{rows, in_width}, {.terms = out_width}}, {weight, {.terms = longest(offsets)}}},
          [=](Vars in) { return matmul(in[0], in[1], groups == 1 ? RowOffsets() : RowOffsets(offsets)); },
          [=](Truth in) { return reference::matmul(in[0], in[1], offsets, in_width, out_width); },
          {.terms = in_width}};
}

OpCase matmul_f32_case(int64_t rows, int64_t in_width, int64_t out_width) {
  return {size_name("matmul_f32", {rows, in_width, out_width}),
          {{{rows, in_width}, {.terms = out_width}}, {{out_width, in_width}, {.terms = rows}}},
          [](Vars in) { return matmul_f32(in[0], in[1]); },
          [=](Truth in) {
            return reference::matmul(in[0], in[1], Offsets{0, rows}, in_width, out_width);
          },
          {.terms = in_width}};
}

// inverse_rms takes cols + 4 operations (squares, mean, epsilon, root, quotient), the product two more; dx a second sum
// of as many and five operations on it; dweight a sum over rows of the quotients.  With a single column, dx is the
// difference of two numbers (x^2 + epsilon) / epsilon times as large (docs/numerics.md).
std::vector<Operand> rms_norm_inputs(int64_t rows, int64_t cols, double epsilon) {
  constexpr double kLargest = 2;
  const double condition = cols == 1 ? 1 + kLargest * kLargest / epsilon : 1;
  return {{{rows, cols}, {.terms = 2 * cols + 9, .condition = condition}, false, -kLargest, kLargest},
          {{cols}, {.terms = rows + cols + 5}, false, 0.5, 1.5}};
}

OpCase rms_norm_case(int64_t rows, int64_t cols, float epsilon) {
  return {size_name("rms_norm", {rows, cols}),
          rms_norm_inputs(rows, cols, epsilon),
          [=](Vars in) { return rms_norm(in[0], in[1], epsilon); },
          [=](Truth in) { return reference::rms_norm(in[0], in[1], epsilon); },
          {.terms = cols + 6}};
}

OpCase add_rms_norm_case(int64_t rows, int64_t cols, float epsilon) {
  std::vector<Operand> inputs = rms_norm_inputs(rows, cols, epsilon);
  inputs.push_back({{rows, cols}});
  return {size_name("add_rms_norm", {rows, cols}),
          inputs,
          [=](Vars in) { return add_rms_norm(in[2], in[0], in[1], epsilon); },
          [=](Truth in) { return reference::add(in[2], reference::rms_norm(in[0], in[1], epsilon)); },
          {.terms = cols + 7}};
}

// Sine and cosine rounded to f32, two products, one sum.
OpCase rope_case(const Ids& positions, int64_t heads, int64_t head_dim) {
  const Roundings roundings{.terms = 5};
  return {
      size_name("rope", {std::ssize(positions), heads, head_dim}),
      {{{std::ssize(positions), heads, head_dim}, roundings}},
      [=](Vars in) { return rope(in[0], rope_table(tensor_of(positions, in[0].stream()), head_dim, 10000)); },
      [=](Truth in) { return reference::rope(in[0], positions, heads, head_dim, 10000); },
      roundings};
}

// As RMS normalisation, with the mean before it; the bias adds one operation, dx has a third sum; the rotation adds five to
// everything.
OpCase qk_norm_case(int64_t rows, int64_t heads, int64_t head_dim, float epsilon) {
  Ids positions;
  for (int64_t row = 0; row < rows; ++row) positions.push_back(static_cast<int32_t>(row * 7919 % 100000));
  const int64_t sums = 2 * head_dim;
  return {size_name("qk_norm", {rows, heads, head_dim}),
          {{{rows, heads, head_dim}, {.terms = 2 * sums + 17}},
           {{head_dim}, {.terms = rows * heads + sums + 12}, false, 0.5, 1.5},
           {{head_dim}, {.terms = additions(rows * heads) + 5}}},
          [=](Vars in) {
            const Tensor table = rope_table(tensor_of(positions, in[0].stream()), head_dim, 10000);
            return qk_norm(in[0], in[1], in[2], table, epsilon);
          },
          [=](Truth in) {
            return reference::rope(reference::layer_norm(in[0], in[1], in[2], epsilon), positions, heads,
                                   head_dim, 10000);
          },
          {.terms = sums + 14}};
}

// Forward: the scores (head_dim), the sums of exponentials and of values (the longest document each), and eight for scale,
// exponential, maximum and quotient.  Backward: p again, dp and delta (head_dim each), then a sum over the document;
// in bf16, delta reads y, which was rounded once, and the result is rounded: two (docs/numerics.md).
OpCase attention_case(const Offsets& segments, int64_t heads, int64_t head_dim) {
  const int64_t rows = segments.back(), length = longest(segments);
  const Shape shape{rows, heads, head_dim};
  const Roundings through_scores{.terms = 3 * head_dim + 3 * length + 16, .bf16_stores = 2};
  return {size_name("attention", {std::ssize(segments) - 1, rows, heads, head_dim}),
          {{shape, through_scores}, {shape, through_scores}, {shape, {.terms = head_dim + 3 * length + 8}}},
          [=](Vars in) { return attention(in[0], in[1], in[2], segments); },
          [=](Truth in) { return reference::attention(in[0], in[1], in[2], segments, heads, head_dim); },
          {.terms = head_dim + 2 * length + 8}};
}

// s takes five operations (two of them inside exp), silu(gate) up two more; dgate nine.
OpCase swiglu_case(int64_t rows, int64_t cols) {
  return {size_name("swiglu", {rows, cols}),
          {{{rows, cols}, {.terms = 14}}, {{rows, cols}, {.terms = 7}}},
          [](Vars in) { return swiglu(in[0], in[1]); },
          [](Truth in) { return reference::swiglu(in[0], in[1]); },
          {.terms = 7}};
}

OpCase add_case(int64_t rows, int64_t cols) {
  return {size_name("add", {rows, cols}),
          {{{rows, cols}}, {{rows, cols}}},
          [](Vars in) { return add(in[0], in[1]); },
          [](Truth in) { return reference::add(in[0], in[1]); },
          {.terms = 1}};
}

OpCase subtract_case(int64_t rows, int64_t cols) {
  return {size_name("subtract", {rows, cols}),
          {{{rows, cols}}, {{rows, cols}}},
          [](Vars in) { return subtract(in[0], in[1]); },
          [](Truth in) { return reference::subtract(in[0], in[1]); },
          {.terms = 1}};
}

OpCase cast_case(DType to, int64_t count) {
  const Roundings one{.terms = 1};
  return {str("cast/", to, "x", count),
          {{{count}, one, to == DType::bf16}},
          [=](Vars in) { return cast(in[0], to); },
          [](Truth in) { return in[0]; },
          one};
}

// In bf16, dx = dy y (1 - y) reads the rounded y, which moves it by at most dy y |1 - 2 y| 2^-8; against the largest
// dy / 4 that is up to 4 roundings, and the result is rounded as well.
OpCase sigmoid_case(int64_t rows, int64_t cols) {
  return {size_name("sigmoid", {rows, cols}),
          {{{rows, cols}, {.terms = 8, .bf16_stores = 5}}},
          [](Vars in) { return sigmoid(in[0]); },
          [](Truth in) { return reference::sigmoid(in[0]); },
          {.terms = 5}};
}

// s takes five operations, the product one; dx one more for 1 - s, the fused one and two products.
OpCase silu_case(int64_t rows, int64_t cols) {
  return {size_name("silu", {rows, cols}),
          {{{rows, cols}, {.terms = 9}}},
          [](Vars in) { return silu(in[0]); },
          [](Truth in) { return reference::silu(in[0]); },
          {.terms = 6}};
}

OpCase reshape_case() {
  return {"reshape/6x35",
          {{{6, 35}}},
          [](Vars in) {
            return reshape(in[0], {2, 3, 35});
          },
          [](Truth in) { return in[0]; }};
}

OpCase concat_case(const Offsets& offsets) {
  std::vector<Operand> inputs;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) inputs.push_back({{offsets[i + 1] - offsets[i]}, {}, true});
  return {size_name("concat", {std::ssize(inputs), offsets.back()}), inputs,
          [](Vars in) { return concat(in); },
          [](Truth in) {
            Values whole;
            for (const Values& part : in) whole.insert(whole.end(), part.begin(), part.end());
            return whole;
          }};
}

/// Slots that read random rows, none of them for some rows; increasing inside each of two experts, as routing makes them.
Ids random_slots(int64_t rows, int64_t slots) {
  Ids index = random_ids("slots", slots, std::max<int64_t>(rows - 1, 1));
  std::sort(index.begin(), index.begin() + slots / 2);
  std::sort(index.begin() + slots / 2, index.end());
  return index;
}

Routing routing_of(const Ids& index, int64_t rows, Stream stream) {
  return make_routing(tensor_of(index, stream), {0, std::ssize(index) / 2, std::ssize(index)}, rows);
}

OpCase gather_case(int64_t rows, int64_t slots, int64_t width) {
  const Ids index = random_slots(rows, slots);
  return {size_name("gather", {rows, slots, width}),
          {{{rows, width}, {.terms = additions(most_repeats(index))}}},
          [=](Vars in) { return gather(in[0], routing_of(index, rows, in[0].stream())); },
          [=](Truth in) { return reference::gather(in[0], index, width); }};
}

OpCase pick_case(int64_t rows, const Offsets& columns) {
  Ids index;
  for (size_t c = 0; c + 1 < columns.size(); ++c)
    for (int64_t s = columns[c]; s < columns[c + 1]; ++s)
      index.push_back(static_cast<int32_t>((s - columns[c]) * rows / (columns[c + 1] - columns[c])));
  const int64_t cols = std::ssize(columns) - 1;
  return {size_name("pick", {rows, cols, columns.back()}),
          {{{rows, cols}, {}, true}},
          [=](Vars in) { return pick(in[0], tensor_of(index, in[0].stream()), columns); },
          [=](Truth in) { return reference::pick(in[0], index, columns); }};
}

OpCase combine_case(int64_t rows, int64_t slots, int64_t width, bool gated) {
  const Ids index = random_slots(rows, slots);
  const int64_t summands = most_repeats(index);
  const auto of = [=](Stream stream) { return routing_of(index, rows, stream); };
  if (!gated)
    return {size_name("combine", {rows, slots, width}),
            {{{slots, width}}},
            [=](Vars in) { return combine(in[0], Var(), of(in[0].stream())); },
            [=](Truth in) { return reference::combine(in[0], {}, index, rows, width); },
            {.terms = additions(summands)}};
  return {size_name("combine_gated", {rows, slots, width}),
          {{{slots, width}, {.terms = 1}}, {{slots}, {.terms = 2 * width}, true, 0.1, 1}},
          [=](Vars in) { return combine(in[0], in[1], of(in[0].stream())); },
          [=](Truth in) { return reference::combine(in[0], in[1], index, rows, width); },
          {.terms = 2 * summands}};
}

void add_matrix_cases(std::vector<OpCase>& cases) {
  for (const auto& [offsets, in, out] : std::vector<std::tuple<Offsets, int64_t, int64_t>>{
           {{0, 1}, 1, 1},
           {{0, 31}, 33, 7},
           {{0, 33}, 1, 31},
           {{0, 67}, 31, 1},
           {{0, 1}, 127, 33},
           {{0, 129}, 17, 13},
           {{0, 8}, 257, 5},
           {{0, 3, 3, 20, 61}, 33, 31},
           {{0, 0, 31, 31}, 7, 9},
           {{0, 3, 3, 20, 61}, 40, 24},  // aligned: copies of 16 bytes
           {{0, 33}, 16, 72},
           {{0, 0, 0}, 5, 3}})
    cases.push_back(matmul_case(offsets, in, out));
  cases.push_back(matmul_f32_case(31, 33, 7));
  cases.push_back(matmul_f32_case(1, 127, 129));
  cases.push_back(matmul_f32_case(33, 16, 1));
}

void add_norm_cases(std::vector<OpCase>& cases) {
  // A single column is scaled to almost exactly 1 unless epsilon is of its size: there is no gradient left to compare.
  for (const auto& [rows, cols, epsilon] :
       std::vector<std::tuple<int64_t, int64_t, float>>{{1, 1, 0.5f},
                                                        {31, 1, 0.5f},
                                                        {1, 127, 1e-5f},
                                                        {7, 31, 1e-5f},
                                                        {33, 16, 1e-5f},
                                                        {5, 129, 1e-5f},
                                                        {129, 33, 1e-5f}}) {
    cases.push_back(rms_norm_case(rows, cols, epsilon));
    cases.push_back(add_rms_norm_case(rows, cols, epsilon));
  }
  // Two columns are scaled to almost exactly 1 and -1, likewise.
  for (const auto& [rows, heads, head_dim, epsilon] :
       std::vector<std::tuple<int64_t, int64_t, int64_t, float>>{{1, 1, 2, 0.5f},
                                                                 {9, 3, 2, 0.5f},
                                                                 {1, 1, 126, 1e-5f},
                                                                 {7, 3, 30, 1e-5f},
                                                                 {33, 1, 16, 1e-5f},
                                                                 {5, 1, 130, 1e-5f},
                                                                 {43, 3, 34, 1e-5f},
                                                                 {3, 9, 32, 1e-5f},
                                                                 {3, 5, 64, 1e-5f},
                                                                 {2, 3, 128, 1e-5f}})
    cases.push_back(qk_norm_case(rows, heads, head_dim, epsilon));
}

void add_attention_cases(std::vector<OpCase>& cases) {
  for (const auto& [segments, heads, head_dim] :
       std::vector<std::tuple<Offsets, int64_t, int64_t>>{{{0, 1, 18}, 1, 2},
                                                          {{0, 31}, 2, 16},
                                                          {{0, 33}, 1, 6},
                                                          {{0, 1, 8, 8, 31, 67}, 3, 10},
                                                          {{0, 127}, 1, 32},
                                                          {{0, 129, 131}, 2, 8},
                                                          {{0, 1, 33}, 1, 64},
                                                          {{0, 19}, 1, 128}})
    cases.push_back(attention_case(segments, heads, head_dim));
  cases.push_back(rope_case({0}, 1, 2));
  cases.push_back(rope_case({0, 1, 2, 3, 0, 1, 31, 33, 127}, 3, 34));
  cases.push_back(rope_case({4095, 100000, 0, 7, 2000000000}, 2, 64));
}

void add_pointwise_cases(std::vector<OpCase>& cases) {
  for (const auto& [rows, cols] : std::vector<std::tuple<int64_t, int64_t>>{
           {1, 1}, {1, 31}, {33, 1}, {31, 33}, {3, 127}, {129, 5}, {0, 7}}) {
    cases.push_back(swiglu_case(rows, cols));
    cases.push_back(add_case(rows, cols));
    cases.push_back(subtract_case(rows, cols));
    cases.push_back(sigmoid_case(rows, cols));
    cases.push_back(silu_case(rows, cols));
  }
  for (DType to : {DType::f32, DType::bf16})
    for (int64_t count : {1, 33, 127}) cases.push_back(cast_case(to, count));
  cases.push_back(reshape_case());
  cases.push_back(concat_case({0, 31}));
  cases.push_back(concat_case({0, 1, 1, 34, 67}));
}

void add_routing_cases(std::vector<OpCase>& cases) {
  for (const auto& [rows, slots, width] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 1, 1}, {31, 33, 7}, {33, 1, 129}, {127, 67, 1}, {17, 129, 31}, {5, 0, 3}}) {
    cases.push_back(gather_case(rows, slots, width));
    cases.push_back(combine_case(rows, slots, width, false));
    cases.push_back(combine_case(rows, slots, width, true));
  }
  cases.push_back(pick_case(31, {0, 7}));
  cases.push_back(pick_case(33, {0, 0, 33, 40, 40, 41}));
  cases.push_back(pick_case(7, {0, 0, 0}));
}

}  // namespace
}  // namespace op_table

std::vector<DType> OpCase::dtypes() const {
  const bool f32_alone =
      std::all_of(inputs.begin(), inputs.end(), [](const Operand& in) { return in.always_f32; });
  return f32_alone ? std::vector{DType::f32} : std::vector{DType::f32, DType::bf16};
}

std::vector<OpCase> op_cases() {
  using namespace op_table;
  std::vector<OpCase> cases;
  for (const auto& [rows, vocab, width] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{{1, 1, 1}, {31, 7, 33}, {127, 129, 1}, {3, 67, 31}})
    cases.push_back(embedding_case(rows, vocab, width));
  add_matrix_cases(cases);
  add_norm_cases(cases);
  add_attention_cases(cases);
  add_pointwise_cases(cases);
  add_routing_cases(cases);
  add_loss_cases(cases);
  add_cache_cases(cases);
  add_quantise_cases(cases);
  return cases;
}

}  // namespace tessera
