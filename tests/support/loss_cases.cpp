// The losses in the op table.
#include "tests/support/op_table.h"
#include "tests/support/reference.h"

namespace tessera::op_table {
namespace {

Ids some_targets(int64_t rows, int64_t vocab) {
  Ids targets = random_ids("targets", rows, vocab);
  for (size_t r = 2; r < targets.size(); r += 5) targets[r] = -1;
  return targets;
}

constexpr double kLargestLogit = 2;

/// Keeps logits as they are, and their gradient.
Var identity(int64_t size, Stream stream) {
  std::vector<float> values(static_cast<size_t>(size * size));
  for (int64_t i = 0; i < size; ++i) values[static_cast<size_t>(i * size + i)] = 1;
  return Tensor::from(values, {size, size}, stream);
}

// log_sum: one addition per id, three operations inside exp and one before it, then log and the maximum; the loss and the
// gradient take five more.  The rounding of log_sum, in proportion to its size (at most log(vocab) + the largest logit),
// is a factor in the softmax: hence the condition (docs/numerics.md).
Roundings cross_entropy_gradient(int64_t vocab) {
  return {.terms = vocab + 12, .condition = kLargestLogit + std::log(static_cast<double>(vocab))};
}

/// The loss of given logits.
OpCase cross_entropy_case(int64_t rows, int64_t vocab, float z_loss) {
  const Ids targets = some_targets(rows, vocab);
  const float scale = 1 / static_cast<float>(rows);
  return {
      size_name(z_loss > 0 ? "cross_entropy_z" : "cross_entropy", {rows, vocab}),
      {{{rows, vocab}, cross_entropy_gradient(vocab), true, -kLargestLogit, kLargestLogit}},
      [=](Vars in) {
        const Stream stream = in[0].stream();
        return linear_cross_entropy(in[0], identity(vocab, stream), tensor_of(targets, stream), scale, z_loss)
            .total;
      },
      [=](Truth in) { return Values{reference::cross_entropy(in[0], targets, vocab, scale, z_loss).total}; },
      {.terms = vocab + 12},
      OpCase::Output::loss};
}

// A logit is a sum of width terms, and its rounding, at most in proportion to the largest one, is a relative one of the softmax as
// that of log_sum is.  Then dx sums over ids, dweight over rows; in bf16 products may round the gradient of the logits before the
// result is.
OpCase linear_cross_entropy_case(int64_t rows, int64_t width, int64_t vocab, int64_t chunk_rows) {
  const Ids targets = some_targets(rows, vocab);
  const auto of_sum = [&](int64_t terms, int64_t bf16_stores) {
    Roundings roundings = cross_entropy_gradient(vocab);
    roundings.terms += width + terms;
    roundings.bf16_stores = bf16_stores;
    return roundings;
  };
  const double largest = std::sqrt(kLargestLogit / static_cast<double>(width));
  return {size_name("linear_cross_entropy", {rows, width, vocab, chunk_rows}),
          {{{rows, width}, of_sum(vocab, 2), false, -largest, largest},
           {{vocab, width}, of_sum(rows, 1), false, -largest, largest, true}},
          [=](Vars in) {
            return linear_cross_entropy(in[0], in[1], tensor_of(targets, in[0].stream()), 1, 0.01f,
                                        chunk_rows)
                .total;
          },
          [=](Truth in) {
            const Values logits = reference::matmul(in[0], in[1], Offsets{0, rows}, width, vocab);
            return Values{reference::cross_entropy(logits, targets, vocab, 1, 0.01f).total};
          },
          {.terms = width + vocab + 12},
          OpCase::Output::loss};
}

/// The two arrays that the loss comes with.
void add_cross_entropy_parts(std::vector<OpCase>& cases, int64_t rows, int64_t vocab) {
  const Ids targets = some_targets(rows, vocab);
  const auto loss = [=](Vars in) {
    const Stream stream = in[0].stream();
    return linear_cross_entropy(in[0], identity(vocab, stream), tensor_of(targets, stream), 1, 0, 8);
  };
  const auto truth = [=](Truth in) { return reference::cross_entropy(in[0], targets, vocab, 1, 0); };
  const std::vector<Operand> logits{{{rows, vocab}, {}, true}};
  const Roundings roundings{.terms = vocab + 7};
  cases.push_back({size_name("cross_entropy_nll", {rows, vocab}), logits,
                   [=](Vars in) { return loss(in).nll; }, [=](Truth in) { return truth(in).nll; }, roundings,
                   OpCase::Output::constant});
  cases.push_back({size_name("cross_entropy_log_sum", {rows, vocab}), logits,
                   [=](Vars in) { return loss(in).log_sum; }, [=](Truth in) { return truth(in).log_sum; },
                   roundings, OpCase::Output::constant});
}

// A term takes nine operations (three inside exp, four inside the logarithm, maximum and sum); its sum passes 70 additions at
// most (kernels/binary_cross_entropy.h: 64 per chain and lane, 6 to join them), then two roundings.  The gradient: five for
// the sigmoid, two products.
OpCase binary_cross_entropy_case(int64_t rows, int64_t cols, float scale) {
  const Ids targets = random_ids("targets", rows * cols, 2);
  const std::vector<uint8_t> bytes(targets.begin(), targets.end());
  return {size_name("binary_cross_entropy", {rows, cols}),
          {{{rows, cols}, {.terms = 7}, true, -8, 8}},
          [=](Vars in) {
            return binary_cross_entropy(in[0], Tensor::from(bytes, {rows, cols}, in[0].stream()), scale);
          },
          [=](Truth in) { return Values{reference::binary_cross_entropy(in[0], targets, scale)}; },
          {.terms = 11 + std::min<int64_t>(additions(rows * cols), 70)}};
}

}  // namespace

void add_loss_cases(std::vector<OpCase>& cases) {
  for (const auto& [rows, vocab] :
       std::vector<std::tuple<int64_t, int64_t>>{{1, 2}, {1, 129}, {31, 33}, {7, 127}, {33, 31}}) {
    cases.push_back(cross_entropy_case(rows, vocab, 0));
    cases.push_back(cross_entropy_case(rows, vocab, 0.01f));
    add_cross_entropy_parts(cases, rows, vocab);
  }
  for (const int64_t chunk_rows : {1, 8, 31, 40})
    cases.push_back(linear_cross_entropy_case(31, 5, 33, chunk_rows));
  cases.push_back(linear_cross_entropy_case(1, 1, 2, 512));
  cases.push_back(linear_cross_entropy_case(64, 33, 127, 16));
  cases.push_back(cross_entropy_case(5, 1, 1));  // one id: the z-loss alone has a gradient
  for (const auto& [rows, cols] : std::vector<std::tuple<int64_t, int64_t>>{
           {1, 1}, {1, 31}, {33, 1}, {31, 33}, {3, 127}, {129, 5}, {129, 33}, {0, 7}})
    cases.push_back(binary_cross_entropy_case(rows, cols, 0.25f));
}

}  // namespace tessera::op_table
