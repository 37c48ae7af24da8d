#include "kernels/pointwise.h"

#include "kernels/map.cuh"
#include "kernels/sigmoid.cuh"

namespace tessera::kernels {
namespace {

struct Add {
  __device__ void operator()(const float (&x)[2], float (&y)[1]) const { y[0] = x[0] + x[1]; }
};
struct Cast {
  __device__ void operator()(const float (&x)[1], float (&y)[1]) const { y[0] = x[0]; }
};
struct SigmoidForward {
  __device__ void operator()(const float (&x)[1], float (&y)[1]) const { y[0] = sigmoid(x[0]); }
};
struct SigmoidBackward {
  __device__ void operator()(const float (&x)[2], float (&y)[1]) const {
    const float s = x[0], dy = x[1];
    y[0] = dy * (s * (1 - s));
  }
};

}  // namespace

template <>
void add<Backend::cuda>(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  visit_float(a.dtype(), [&]<class T>() {
    map("add", Pointers<const T, 2>{a.data<T>(), b.data<T>()}, Pointers<T, 1>{y.data<T>()}, a.count(), Add{},
        stream);
  });
}

template <>
void cast<Backend::cuda>(const Tensor& x, const Tensor& y, Stream stream) {
  visit_float(x.dtype(), [&]<class From>() {
    visit_float(y.dtype(), [&]<class To>() {
      map("cast", Pointers<const From, 1>{x.data<From>()}, Pointers<To, 1>{y.data<To>()}, x.count(), Cast{},
          stream);
    });
  });
}

template <>
void sigmoid_forward<Backend::cuda>(const Tensor& x, const Tensor& y, Stream stream) {
  visit_float(x.dtype(), [&]<class T>() {
    map("sigmoid_forward", Pointers<const T, 1>{x.data<T>()}, Pointers<T, 1>{y.data<T>()}, x.count(),
        SigmoidForward{}, stream);
  });
}

template <>
void sigmoid_backward<Backend::cuda>(const Tensor& y, const Tensor& dy, const Tensor& dx, Stream stream) {
  visit_float(y.dtype(), [&]<class T>() {
    map("sigmoid_backward", Pointers<const T, 2>{y.data<T>(), dy.data<T>()}, Pointers<T, 1>{dx.data<T>()},
        y.count(), SigmoidBackward{}, stream);
  });
}

}  // namespace tessera::kernels
