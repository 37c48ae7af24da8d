// Rules of the matrix products.
#include "kernels/matmul.h"

#include "autograd/functions.h"

namespace tessera {
namespace {

/// 2 rows in out forward, twice that backward; the groups' shares go to the labels in force.
Cost book(const Var& x, const Var& weight, const Tensor& y, RowOffsets offsets) {
  const int64_t per_row = 2 * weight.shape()[-1] * weight.shape()[-2];
  const int64_t backward = x.tracked() || weight.tracked() ? 2 : 0;
  auto cost_of = [&](int64_t rows) { return Cost{rows * per_row, backward * rows * per_row, 0}; };
  const Tape* tape = Tape::active();
  if (tape && tape->labels() && !offsets.empty()) {
    TESSERA_CHECK(tape->labels()->size() + 1 == offsets.size(), "matmul: ", tape->labels()->size(),
                  " labels for ", offsets.size() - 1, " groups");
    for (size_t group = 0; group + 1 < offsets.size(); ++group)
      Tape::active()->ledger().add_part((*tape->labels())[group],
                                        cost_of(offsets[group + 1] - offsets[group]));
  }
  Cost cost = cost_of(x.shape()[0]);
  cost.bytes = x.value().bytes() + weight.value().bytes() + y.bytes();
  return cost;
}

Var matmul_as(const char* name, DType dtype, const Var& x, const Var& weight, RowOffsets given) {
  TESSERA_CHECK(x.shape().rank() == 2 && weight.shape().rank() >= 2, name,
                ": x must be [rows, in] and weight [(groups,) out, in], got ", x.shape(), " and ",
                weight.shape());
  const Stream stream = x.stream();
  const std::vector<int64_t> offsets = given.empty() ? std::vector<int64_t>{0, x.shape()[0]}
                                                     : std::vector<int64_t>(given.begin(), given.end());
  Tensor y = Tensor::empty({x.shape()[0], weight.shape()[-2]}, dtype, stream);
  kernels::matmul_forward(x.value(), weight.value(), y, offsets, stream);
  const Tensor kept_x = x.value(), kept_weight = weight.value();
  return record(name, y,
                {{x,
                  [kept_weight, x_shape = x.shape(), x_dtype = x.dtype(), offsets, stream](const Tensor& dy) {
                    Tensor dx = Tensor::empty(x_shape, x_dtype, stream);
                    kernels::matmul_backward_input(dy, kept_weight, dx, offsets, stream);
                    return dx;
                  }},
                 {weight,
                  [kept_x, room = GradientRoom(weight), offsets, stream](const Tensor& dy) {
                    const auto [dweight, sums] = room.take_or_add();
                    kernels::matmul_backward_weight(dy, kept_x, dweight, offsets, sums, stream);
                    return dweight;
                  }}},
                book(x, weight, y, given));
}

}  // namespace

Var matmul(const Var& x, const Var& weight, RowOffsets offsets) {
  return matmul_as("matmul", x.dtype(), x, weight, offsets);
}

Var matmul_f32(const Var& x, const Var& weight) { return matmul_as("matmul_f32", DType::f32, x, weight, {}); }

}  // namespace tessera
