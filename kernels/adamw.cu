#include "kernels/adamw.h"

#include "kernels/map.cuh"

namespace tessera::kernels {
namespace {

/// From value, grad, first, second to value, first, second.
struct Step {
  AdamWOptions o;

  __device__ void operator()(const float (&x)[4], float (&y)[3]) const {
    const float g = o.grad_scale * x[1];
    const float m = fmaf(o.beta1, x[2], (1 - o.beta1) * g);
    const float v = fmaf(o.beta2, x[3], (1 - o.beta2) * (g * g));
    const float step = m * o.correction1 / (sqrtf(v * o.correction2) + o.epsilon);
    y[0] = fmaf(-o.rate, fmaf(o.decay, x[0], step), x[0]);
    y[1] = m;
    y[2] = v;
  }
};

}  // namespace

template <>
void adamw<Backend::cuda>(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second,
                          AdamWOptions options, Stream stream) {
  float *const values = value.data<float>(), *const means = first.data<float>(),
               *const squares = second.data<float>();
  map("adamw", Pointers<const float, 4>{values, grad.data<float>(), means, squares},
      Pointers<float, 3>{values, means, squares}, value.count(), Step{options}, stream);
}

}  // namespace tessera::kernels
