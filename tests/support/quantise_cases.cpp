#include "tests/support/quantise_cases.h"

#include "runtime/random.h"

namespace tessera {
namespace {

using Vars = std::span<const Var>;
using Truth = std::span<const Values>;

/// Each row replaced by the nearest code: the numbers themselves are not floats.
OpCase nearest_code_case(int64_t rows, int64_t codes, int64_t width) {
  return {str("nearest_code/", rows, "x", codes, "x", width),
          {{{rows, width}, {}, true}, {{codes, width}, {}, true}},
          [](Vars in) { return embedding(nearest_code(in[0].value(), in[1].value()), in[1].value()); },
          [=](Truth in) {
            Values chosen;
            const auto distance = [&](int64_t row, int64_t code) {
              double sum = 0;
              for (int64_t k = 0; k < width; ++k) {
                const double difference = in[0][static_cast<size_t>(row * width + k)] -
                                          in[1][static_cast<size_t>(code * width + k)];
                sum += difference * difference;
              }
              return sum;
            };
            for (int64_t row = 0; row < rows; ++row) {
              int64_t best = 0;
              for (int64_t code = 1; code < codes; ++code)
                if (distance(row, code) < distance(row, best)) best = code;
              const auto from = in[1].begin() + best * width;
              chosen.insert(chosen.end(), from, from + width);
            }
            return chosen;
          },
          {},
          OpCase::Output::constant};
}

Values squared_distances(const Values& x, const std::vector<float>& target, int64_t rows) {
  Values sums(static_cast<size_t>(rows), 0.0);
  const size_t cols = rows > 0 ? x.size() / sums.size() : 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double difference = x[i] - static_cast<double>(target[i]);
    sums[i / cols] += difference * difference;
  }
  return sums;
}

/// A difference, its fused square and the additions of a row; of the total two more.  The gradient: the factor (two
/// products), the difference, their product.
void add_squared_error_cases(std::vector<OpCase>& cases, int64_t rows, int64_t cols) {
  constexpr float kScale = 0.3f;
  const std::string size = str("/", rows, "x", cols);
  std::vector<float> target;
  for (int64_t i = 0; i < rows * cols; ++i)
    target.push_back(
        static_cast<float>(4 * random_uniform(1, Purpose("target"), static_cast<uint64_t>(i)) - 2));
  const auto error = [=](Vars in) {
    return squared_error(in[0], Tensor::from(target, {rows, cols}, in[0].stream()), kScale);
  };
  cases.push_back({"squared_error" + size,
                   {{{rows, cols}, {.terms = 4}, true}},
                   [=](Vars in) { return error(in).total; },
                   [=](Truth in) {
                     double sum = 0;
                     for (double row : squared_distances(in[0], target, rows)) sum += row;
                     return Values{static_cast<double>(kScale) * sum};
                   },
                   {.terms = cols + 4}});
  cases.push_back({"squared_error_by_row" + size,
                   {{{rows, cols}, {}, true}},
                   [=](Vars in) { return error(in).by_row; },
                   [=](Truth in) { return squared_distances(in[0], target, rows); },
                   {.terms = cols + 2},
                   OpCase::Output::constant});
}

}  // namespace

void add_quantise_cases(std::vector<OpCase>& cases) {
  for (const auto& [rows, codes, width] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 1, 1}, {31, 33, 7}, {129, 16, 16}, {7, 257, 3}, {5, 67, 129}, {0, 3, 2}})
    cases.push_back(nearest_code_case(rows, codes, width));
  for (const auto& [rows, cols] :
       std::vector<std::tuple<int64_t, int64_t>>{{1, 1}, {31, 33}, {3, 127}, {129, 5}, {8, 192}})
    add_squared_error_cases(cases, rows, cols);
}

}  // namespace tessera
