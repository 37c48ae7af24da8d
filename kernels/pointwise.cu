#include "kernels/pointwise.h"

#include "kernels/map.cuh"
#include "kernels/sigmoid.cuh"

namespace tessera::kernels {
namespace {

struct Add {
  __device__ void operator()(const float (&x)[2], float (&y)[1]) const { y[0] = x[0] + x[1]; }
};
struct Subtract {
  __device__ void operator()(const float (&x)[2], float (&y)[1]) const { y[0] = x[0] - x[1]; }
};
struct Negate {
  __device__ void operator()(const float (&x)[1], float (&y)[1]) const { y[0] = x[0] * -1; }
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
struct SiluForward {
  __device__ void operator()(const float (&x)[1], float (&y)[1]) const { y[0] = x[0] * sigmoid(x[0]); }
};
struct SiluBackward {
  __device__ void operator()(const float (&x)[2], float (&y)[1]) const {
    const float s = sigmoid(x[0]), dy = x[1];
    y[0] = dy * (s * fmaf(x[0], 1 - s, 1));
  }
};

/// y = op(inputs...), all of one dtype.
template <class Op, class... Inputs>
void map_alike(const char* name, Op op, Stream stream, const Tensor& y, const Inputs&... inputs) {
  visit_float(y.dtype(), [&]<class T>() {
    map(name, Pointers<const T, sizeof...(inputs)>{inputs.template data<T>()...},
        Pointers<T, 1>{y.data<T>()}, y.count(), op, stream);
  });
}

}  // namespace

template <>
void add<Backend::cuda>(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  map_alike("add", Add{}, stream, y, a, b);
}

template <>
void subtract<Backend::cuda>(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  map_alike("subtract", Subtract{}, stream, y, a, b);
}

template <>
void negate<Backend::cuda>(const Tensor& x, const Tensor& y, Stream stream) {
  map_alike("negate", Negate{}, stream, y, x);
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
  map_alike("sigmoid_forward", SigmoidForward{}, stream, y, x);
}

template <>
void sigmoid_backward<Backend::cuda>(const Tensor& y, const Tensor& dy, const Tensor& dx, Stream stream) {
  map_alike("sigmoid_backward", SigmoidBackward{}, stream, dx, y, dy);
}

template <>
void silu_forward<Backend::cuda>(const Tensor& x, const Tensor& y, Stream stream) {
  map_alike("silu_forward", SiluForward{}, stream, y, x);
}

template <>
void silu_backward<Backend::cuda>(const Tensor& x, const Tensor& dy, const Tensor& dx, Stream stream) {
  map_alike("silu_backward", SiluBackward{}, stream, dx, x, dy);
}

}  // namespace tessera::kernels
