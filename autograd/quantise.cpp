// Vector quantisation and the error of a reconstruction.
#include "autograd/functions.h"
#include "kernels/nearest_code.h"
#include "kernels/squared_error.h"
#include "kernels/total_loss.h"

namespace tessera {

Tensor nearest_code(const Tensor& x, const Tensor& codes) {
  Tensor chosen = Tensor::empty({x.shape()[0]}, DType::i32, x.stream());
  kernels::nearest_code(x, codes, chosen, x.stream());
  return chosen;
}

Var straight_through(const Var& x, const Tensor& value) {
  TESSERA_CHECK(value.shape() == x.shape() && value.dtype() == x.dtype(), "straight_through: value must be ",
                x.shape(), " ", x.dtype(), ", got ", value.shape(), " ", value.dtype());
  return record("straight_through", value, {{x, [](const Tensor& dy) { return dy; }}});
}

SquaredError squared_error(const Var& x, const Tensor& target, float scale) {
  const Stream stream = x.stream();
  TESSERA_CHECK(x.shape().rank() == 2, "squared_error: x must be [rows, cols], got ", x.shape());
  const Tensor by_row = Tensor::empty({x.shape()[0]}, DType::f32, stream);
  kernels::squared_error_forward(x.value(), target, by_row, stream);
  const Tensor total = Tensor::empty({1}, DType::f32, stream);
  kernels::total_loss(by_row, by_row, total, {.scale = scale, .z_loss = 0}, stream);
  Var recorded = record("squared_error", total,
                        {{x,
                          [x = x.value(), target, scale, stream](const Tensor& dy) {
                            Tensor dx = Tensor::like(x);
                            kernels::squared_error_backward({x, target, dy, dx}, scale, stream);
                            return dx;
                          }}},
                        {.bytes = 2 * x.value().bytes()});
  return {recorded, by_row};
}

}  // namespace tessera
