#include "kernels/swiglu.h"

#include "kernels/map.cuh"
#include "kernels/sigmoid.cuh"

namespace tessera::kernels {
namespace {

struct SwigluForward {
  __device__ void operator()(const float (&x)[2], float (&y)[1]) const {
    const float gate = x[0], up = x[1];
    y[0] = gate * sigmoid(gate) * up;
  }
};

struct SwigluBackward {
  __device__ void operator()(const float (&x)[3], float (&y)[2]) const {
    const float gate = x[0], up = x[1], dy = x[2], s = sigmoid(gate);
    y[0] = dy * up * s * fmaf(gate, 1 - s, 1);
    y[1] = dy * (gate * s);
  }
};

}  // namespace

template <>
void swiglu_forward<Backend::cuda>(const Tensor& gate, const Tensor& up, const Tensor& y, Stream stream) {
  visit_float(gate.dtype(), [&]<class T>() {
    map("swiglu_forward", Pointers<const T, 2>{gate.data<T>(), up.data<T>()}, Pointers<T, 1>{y.data<T>()},
        gate.count(), SwigluForward{}, stream);
  });
}

template <>
void swiglu_backward<Backend::cuda>(const Tensor& gate, const Tensor& up, const Tensor& dy,
                                    const Tensor& dgate, const Tensor& dup, Stream stream) {
  visit_float(gate.dtype(), [&]<class T>() {
    map("swiglu_backward", Pointers<const T, 3>{gate.data<T>(), up.data<T>(), dy.data<T>()},
        Pointers<T, 2>{dgate.data<T>(), dup.data<T>()}, gate.count(), SwigluBackward{}, stream);
  });
}

}  // namespace tessera::kernels
