#include "kernels/adamw.h"

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/adamw.inc"
#define TESSERA_KERNELS_OF_BF16_PAIRS
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

void adamw(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second,
           const Tensor& rounded, AdamWOptions options, Stream stream) {
  const Check check{"adamw", stream};
  check.count("value", value, value.count(), DType::f32);
  check.count("grad", grad, value.count(), DType::f32);
  check.count("first", first, value.count(), DType::f32);
  check.count("second", second, value.count(), DType::f32);
  if (rounded) check.count("rounded", rounded, value.count(), DType::bf16);
  on_backend(stream, [&]<Backend B>() { adamw<B>(value, grad, first, second, rounded, options, stream); });
}

template <>
void adamw<Backend::cpu>(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second,
                         const Tensor& rounded, AdamWOptions options, Stream stream) {
  const TraceRange range =
      cpu::kernel_range(stream, "adamw", value, grad, first, second, value, first, second, rounded);
  auto* const step = cpu::select(stream, avx2::adamw_range, avx512::adamw_range, avx512_bf16::adamw_range);
  bf16* const copies = rounded ? rounded.data<bf16>() : nullptr;
  cpu::parallel_for(stream, value.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
    step(value.data<float>() + begin, grad.data<float>() + begin, first.data<float>() + begin,
         second.data<float>() + begin, copies ? copies + begin : nullptr, end - begin, options);
  });
}

}  // namespace tessera::kernels
