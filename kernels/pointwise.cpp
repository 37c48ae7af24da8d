#include "kernels/pointwise.h"

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/pointwise.inc"
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void add(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  const Check check{"add", stream};
  check.floats("a", a);
  check.count("b", b, a.count(), a.dtype());
  check.count("y", y, a.count(), a.dtype());
  on_backend(stream, [&]<Backend B>() { add<B>(a, b, y, stream); });
}

template <>
void add<Backend::cpu>(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  TraceRange range(engine_of(stream).trace, "add");
  visit_float(a.dtype(), [&]<class T>() {
    auto* const sum = cpu::select(stream, avx2::add_range<T>, avx512::add_range<T>);
    cpu::parallel_for(stream, a.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
      sum(a.data<T>() + begin, b.data<T>() + begin, y.data<T>() + begin, end - begin);
    });
  });
}

void cast(const Tensor& x, const Tensor& y, Stream stream) {
  const Check check{"cast", stream};
  check.floats("x", x);
  check.floats("y", y);
  check.count("y", y, x.count(), y.dtype());
  on_backend(stream, [&]<Backend B>() { cast<B>(x, y, stream); });
}

template <>
void cast<Backend::cpu>(const Tensor& x, const Tensor& y, Stream stream) {
  TraceRange range(engine_of(stream).trace, "cast");
  visit_float(x.dtype(), [&]<class From>() {
    visit_float(y.dtype(), [&]<class To>() {
      auto* const convert = cpu::select(stream, avx2::cast_range<From, To>, avx512::cast_range<From, To>);
      cpu::parallel_for(stream, x.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
        convert(x.data<From>() + begin, y.data<To>() + begin, end - begin);
      });
    });
  });
}

void sigmoid_forward(const Tensor& x, const Tensor& y, Stream stream) {
  const Check check{"sigmoid_forward", stream};
  check.floats("x", x);
  check.count("y", y, x.count(), x.dtype());
  on_backend(stream, [&]<Backend B>() { sigmoid_forward<B>(x, y, stream); });
}

template <>
void sigmoid_forward<Backend::cpu>(const Tensor& x, const Tensor& y, Stream stream) {
  TraceRange range(engine_of(stream).trace, "sigmoid_forward");
  visit_float(x.dtype(), [&]<class T>() {
    auto* const forward =
        cpu::select(stream, avx2::sigmoid_forward_range<T>, avx512::sigmoid_forward_range<T>);
    cpu::parallel_for(stream, x.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
      forward(x.data<T>() + begin, y.data<T>() + begin, end - begin);
    });
  });
}

void sigmoid_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, Stream stream) {
  const Check check{"sigmoid_backward", stream};
  check.floats("y", y);
  check.count("dy", dy, y.count(), y.dtype());
  check.count("dx", dx, y.count(), y.dtype());
  on_backend(stream, [&]<Backend B>() { sigmoid_backward<B>(y, dy, dx, stream); });
}

template <>
void sigmoid_backward<Backend::cpu>(const Tensor& y, const Tensor& dy, const Tensor& dx, Stream stream) {
  TraceRange range(engine_of(stream).trace, "sigmoid_backward");
  visit_float(y.dtype(), [&]<class T>() {
    auto* const backward =
        cpu::select(stream, avx2::sigmoid_backward_range<T>, avx512::sigmoid_backward_range<T>);
    cpu::parallel_for(stream, y.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
      backward(y.data<T>() + begin, dy.data<T>() + begin, dx.data<T>() + begin, end - begin);
    });
  });
}

}  // namespace tessera::kernels
