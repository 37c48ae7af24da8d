#include "kernels/exact_norm.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

#define TESSERA_KERNELS "kernels/cpu/exact_norm.inc"
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {

int norm_exponent(float largest) { return (std::ilogb(largest) + 4) >> 2 << 2; }

double norm_from(unsigned __int128 squares, int exponent) {
  return std::ldexp(std::sqrt(static_cast<double>(squares) * 0x1p-52), exponent);
}

NormParts norm_parts(const Tensor& x, int exponent, Stream stream) {
  const Check check{"norm_parts", stream};
  check.present("x", x);
  check.count("x", x, x.count(), DType::f32);
  NormParts parts;
  on_backend(stream, [&]<Backend B>() { parts = norm_parts<B>(x, exponent, stream); });
  return parts;
}

template <>
NormParts norm_parts<Backend::cpu>(const Tensor& x, int exponent, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "norm_parts", x);
  auto* const parts_of = cpu::select(stream, avx2::norm_parts_range, avx512::norm_parts_range);
  const int64_t tasks = (x.count() + cpu::kTaskElements - 1) / cpu::kTaskElements;
  const Tensor memory = Tensor::empty({tasks, static_cast<int64_t>(sizeof(NormParts))}, DType::u8, stream);
  const std::span parts(reinterpret_cast<NormParts*>(memory.data<uint8_t>()), static_cast<size_t>(tasks));
  cpu::parallel_for(stream, x.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
    parts[static_cast<size_t>(begin / cpu::kTaskElements)] =
        parts_of(x.data<float>() + begin, end - begin, exponent);
  });
  int32_t largest = 0;  // bits
  NormParts all;
  for (const NormParts& part : parts) {
    largest = std::max(largest, std::bit_cast<int32_t>(part.largest));
    all.squares += part.squares;
  }
  all.largest = std::bit_cast<float>(largest);
  return all;
}

}  // namespace tessera::kernels
