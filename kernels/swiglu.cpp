#include "kernels/swiglu.h"

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/swiglu.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void swiglu_forward(const Tensor& gate, const Tensor& up, const Tensor& y, Stream stream) {
  const Check check{"swiglu_forward", stream};
  check.floats("gate", gate);
  check.tensor("up", up, gate.shape(), gate.dtype());
  check.tensor("y", y, gate.shape(), gate.dtype());
  on_backend(stream, [&]<Backend B>() { swiglu_forward<B>(gate, up, y, stream); });
}

template <>
void swiglu_forward<Backend::cpu>(const Tensor& gate, const Tensor& up, const Tensor& y, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "swiglu_forward", gate, up, y);
  visit_float(gate.dtype(), [&]<class T>() {
    auto* const forward = cpu::select(stream, avx2::swiglu_forward_range<T>, avx512::swiglu_forward_range<T>,
                                      avx512_bf16::swiglu_forward_range<T>);
    cpu::parallel_for(stream, gate.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
      forward(gate.data<T>() + begin, up.data<T>() + begin, y.data<T>() + begin, end - begin);
    });
  });
}

void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& dy, const Tensor& dgate,
                     const Tensor& dup, Stream stream) {
  const Check check{"swiglu_backward", stream};
  check.floats("gate", gate);
  check.tensor("up", up, gate.shape(), gate.dtype());
  check.tensor("dy", dy, gate.shape(), gate.dtype());
  check.tensor("dgate", dgate, gate.shape(), gate.dtype());
  check.tensor("dup", dup, gate.shape(), gate.dtype());
  on_backend(stream, [&]<Backend B>() { swiglu_backward<B>(gate, up, dy, dgate, dup, stream); });
}

template <>
void swiglu_backward<Backend::cpu>(const Tensor& gate, const Tensor& up, const Tensor& dy,
                                   const Tensor& dgate, const Tensor& dup, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "swiglu_backward", gate, up, dy, dgate, dup);
  visit_float(gate.dtype(), [&]<class T>() {
    auto* const backward =
        cpu::select(stream, avx2::swiglu_backward_range<T>, avx512::swiglu_backward_range<T>,
                    avx512_bf16::swiglu_backward_range<T>);
    cpu::parallel_for(stream, gate.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
      backward(gate.data<T>() + begin, up.data<T>() + begin, dy.data<T>() + begin, dgate.data<T>() + begin,
               dup.data<T>() + begin, end - begin);
    });
  });
}

}  // namespace tessera::kernels
