#include "kernels/pointwise.h"

#include <initializer_list>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/pointwise.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

/// The first f32 or bf16, the others of its count and dtype.
void check_alike(const Check& check, Argument first, std::initializer_list<Argument> others) {
  check.floats(first.name, first.tensor);
  for (const Argument& other : others)
    check.count(other.name, other.tensor, first.tensor.count(), first.tensor.dtype());
}

/// Calls range(inputs..., y, count) for parts of tensors of T on the stream's threads.
template <class T, class Range, class... Inputs>
void run_ranges(const char* name, Range* range, Stream stream, const Tensor& y, const Inputs&... inputs) {
  const TraceRange trace = cpu::kernel_range(stream, name, y, inputs...);
  cpu::parallel_for(stream, y.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
    range(inputs.template data<T>() + begin..., y.data<T>() + begin, end - begin);
  });
}

}  // namespace

void add(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  check_alike({"add", stream}, {"a", a}, {{"b", b}, {"y", y}});
  on_backend(stream, [&]<Backend B>() { add<B>(a, b, y, stream); });
}

template <>
void add<Backend::cpu>(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  visit_float(y.dtype(), [&]<class T>() {
    run_ranges<T>("add",
                  cpu::select(stream, avx2::add_range<T>, avx512::add_range<T>, avx512_bf16::add_range<T>),
                  stream, y, a, b);
  });
}

void subtract(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  check_alike({"subtract", stream}, {"a", a}, {{"b", b}, {"y", y}});
  on_backend(stream, [&]<Backend B>() { subtract<B>(a, b, y, stream); });
}

template <>
void subtract<Backend::cpu>(const Tensor& a, const Tensor& b, const Tensor& y, Stream stream) {
  visit_float(y.dtype(), [&]<class T>() {
    auto* const range = cpu::select(stream, avx2::subtract_range<T>, avx512::subtract_range<T>,
                                    avx512_bf16::subtract_range<T>);
    run_ranges<T>("subtract", range, stream, y, a, b);
  });
}

void negate(const Tensor& x, const Tensor& y, Stream stream) {
  check_alike({"negate", stream}, {"x", x}, {{"y", y}});
  on_backend(stream, [&]<Backend B>() { negate<B>(x, y, stream); });
}

template <>
void negate<Backend::cpu>(const Tensor& x, const Tensor& y, Stream stream) {
  visit_float(y.dtype(), [&]<class T>() {
    auto* const range =
        cpu::select(stream, avx2::negate_range<T>, avx512::negate_range<T>, avx512_bf16::negate_range<T>);
    run_ranges<T>("negate", range, stream, y, x);
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
  const TraceRange range = cpu::kernel_range(stream, "cast", x, y);
  visit_float(x.dtype(), [&]<class From>() {
    visit_float(y.dtype(), [&]<class To>() {
      auto* const convert = cpu::select(stream, avx2::cast_range<From, To>, avx512::cast_range<From, To>,
                                        avx512_bf16::cast_range<From, To>);
      cpu::parallel_for(stream, x.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
        convert(x.data<From>() + begin, y.data<To>() + begin, end - begin);
      });
    });
  });
}

void sigmoid_forward(const Tensor& x, const Tensor& y, Stream stream) {
  check_alike({"sigmoid_forward", stream}, {"x", x}, {{"y", y}});
  on_backend(stream, [&]<Backend B>() { sigmoid_forward<B>(x, y, stream); });
}

template <>
void sigmoid_forward<Backend::cpu>(const Tensor& x, const Tensor& y, Stream stream) {
  visit_float(y.dtype(), [&]<class T>() {
    auto* const range = cpu::select(stream, avx2::sigmoid_forward_range<T>, avx512::sigmoid_forward_range<T>,
                                    avx512_bf16::sigmoid_forward_range<T>);
    run_ranges<T>("sigmoid_forward", range, stream, y, x);
  });
}

void sigmoid_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, Stream stream) {
  check_alike({"sigmoid_backward", stream}, {"y", y}, {{"dy", dy}, {"dx", dx}});
  on_backend(stream, [&]<Backend B>() { sigmoid_backward<B>(y, dy, dx, stream); });
}

template <>
void sigmoid_backward<Backend::cpu>(const Tensor& y, const Tensor& dy, const Tensor& dx, Stream stream) {
  visit_float(dx.dtype(), [&]<class T>() {
    auto* const range =
        cpu::select(stream, avx2::sigmoid_backward_range<T>, avx512::sigmoid_backward_range<T>,
                    avx512_bf16::sigmoid_backward_range<T>);
    run_ranges<T>("sigmoid_backward", range, stream, dx, y, dy);
  });
}

void silu_forward(const Tensor& x, const Tensor& y, Stream stream) {
  check_alike({"silu_forward", stream}, {"x", x}, {{"y", y}});
  on_backend(stream, [&]<Backend B>() { silu_forward<B>(x, y, stream); });
}

template <>
void silu_forward<Backend::cpu>(const Tensor& x, const Tensor& y, Stream stream) {
  visit_float(y.dtype(), [&]<class T>() {
    auto* const range = cpu::select(stream, avx2::silu_forward_range<T>, avx512::silu_forward_range<T>,
                                    avx512_bf16::silu_forward_range<T>);
    run_ranges<T>("silu_forward", range, stream, y, x);
  });
}

void silu_backward(const Tensor& x, const Tensor& dy, const Tensor& dx, Stream stream) {
  check_alike({"silu_backward", stream}, {"x", x}, {{"dy", dy}, {"dx", dx}});
  on_backend(stream, [&]<Backend B>() { silu_backward<B>(x, dy, dx, stream); });
}

template <>
void silu_backward<Backend::cpu>(const Tensor& x, const Tensor& dy, const Tensor& dx, Stream stream) {
  visit_float(dx.dtype(), [&]<class T>() {
    auto* const range = cpu::select(stream, avx2::silu_backward_range<T>, avx512::silu_backward_range<T>,
                                    avx512_bf16::silu_backward_range<T>);
    run_ranges<T>("silu_backward", range, stream, dx, x, dy);
  });
}

}  // namespace tessera::kernels
