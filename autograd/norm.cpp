// Rules of the normalisations.
#include "autograd/functions.h"
#include "kernels/exact_norm.h"
#include "kernels/qk_norm.h"
#include "kernels/rms_norm.h"

namespace tessera {
namespace {

Var normalise(const char* name, const Var* residual, const Var& x, const Var& weight, float epsilon) {
  const Stream stream = x.stream();
  Tensor y = Tensor::like(x.value());
  Tensor inverse_rms = Tensor::empty({x.shape()[0]}, DType::f32, stream);
  kernels::rms_norm_forward(x.value(), weight.value(), residual ? residual->value() : Tensor(), y,
                            inverse_rms, epsilon, stream);
  std::vector<Var> inputs{x, weight};
  if (residual) inputs.push_back(*residual);
  return record(name, y, inputs,
                [x = x.value(), weight = weight.value(), inverse_rms, has_residual = residual != nullptr,
                 stream](const Tensor& dy) {
                  Tensor dx = Tensor::like(x), dweight = Tensor::empty(weight.shape(), DType::f32, stream);
                  kernels::rms_norm_backward(x, weight, inverse_rms, dy, dx, dweight, stream);
                  std::vector<Tensor> gradients{dx, dweight};
                  if (has_residual) gradients.push_back(dy);
                  return gradients;
                },
                {.bytes = (residual ? 3 : 2) * x.value().bytes()});
}

}  // namespace

Var rms_norm(const Var& x, const Var& weight, float epsilon) {
  return normalise("rms_norm", nullptr, x, weight, epsilon);
}

Var add_rms_norm(const Var& residual, const Var& x, const Var& weight, float epsilon) {
  return normalise("add_rms_norm", &residual, x, weight, epsilon);
}

Var qk_norm(const Var& x, const Var& weight, const Var& bias, const Tensor& table, float epsilon) {
  const Stream stream = x.stream();
  TESSERA_CHECK(x.shape().rank() == 3, "qk_norm: x must be [rows, heads, head_dim], got ", x.shape());
  Tensor y = Tensor::like(x.value());
  Tensor statistics = Tensor::empty({x.shape()[0] * x.shape()[1], 2}, DType::f32, stream);
  kernels::qk_norm_forward({x.value(), weight.value(), bias.value(), table, y, statistics}, epsilon, stream);
  return record("qk_norm", y, {x, weight, bias},
                [x = x.value(), weight = weight.value(), table, statistics, stream](const Tensor& dy) {
                  Tensor dx = Tensor::like(x);
                  Tensor dweight = Tensor::empty(weight.shape(), DType::f32, stream);
                  Tensor dbias = Tensor::like(dweight);
                  kernels::qk_norm_backward({x, weight, table, statistics, dy, dx, dweight, dbias}, stream);
                  return std::vector<Tensor>{dx, dweight, dbias};
                },
                {.bytes = 2 * x.value().bytes() + table.bytes()});
}

double norm_of(const Tensor& x) {
  const Stream stream = x.stream();
  const Tensor wide = x.dtype() == DType::f32 ? x : cast(x, DType::f32).value();
  const float largest = kernels::norm_parts(wide, 0, stream).largest;
  if (!(largest > 0) || std::isinf(largest)) return largest;
  const int exponent = kernels::norm_exponent(largest);
  return kernels::norm_from(kernels::norm_parts(wide, exponent, stream).squares, exponent);
}

}  // namespace tessera
