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
namespace {

using Squares = unsigned __int128;

/// Memory for one result of every task, as values of Part.
template <class Part>
struct Parts {
  int64_t tasks;
  Tensor memory;

  Parts(int64_t count, Stream stream)
      : tasks((count + cpu::kTaskElements - 1) / cpu::kTaskElements),
        memory(Tensor::empty({tasks, static_cast<int64_t>(sizeof(Part))}, DType::u8, stream)) {}
  std::span<Part> values() const {
    return {reinterpret_cast<Part*>(memory.data<uint8_t>()), static_cast<size_t>(tasks)};
  }
};

}  // namespace

float largest_magnitude(const Tensor& x, Stream stream) {
  const Check check{"largest_magnitude", stream};
  check.present("x", x);
  check.count("x", x, x.count(), DType::f32);
  float largest = 0;
  on_backend(stream, [&]<Backend B>() { largest = largest_magnitude<B>(x, stream); });
  return largest;
}

template <>
float largest_magnitude<Backend::cpu>(const Tensor& x, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "largest_magnitude", x);
  auto* const largest = cpu::select(stream, avx2::largest_bits, avx512::largest_bits);
  const Parts<int32_t> parts(x.count(), stream);
  cpu::parallel_for(stream, x.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
    parts.values()[begin / cpu::kTaskElements] = largest(x.data<float>() + begin, end - begin);
  });
  int32_t all = 0;
  for (const int32_t part : parts.values()) all = std::max(all, part);
  return std::bit_cast<float>(all);
}

Squares scaled_squares(const Tensor& x, int exponent, Stream stream) {
  const Check check{"scaled_squares", stream};
  check.present("x", x);
  check.count("x", x, x.count(), DType::f32);
  Squares squares = 0;
  on_backend(stream, [&]<Backend B>() { squares = scaled_squares<B>(x, exponent, stream); });
  return squares;
}

template <>
Squares scaled_squares<Backend::cpu>(const Tensor& x, int exponent, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "scaled_squares", x);
  auto* const squares = cpu::select(stream, avx2::scaled_squares_range, avx512::scaled_squares_range);
  const Parts<Squares> parts(x.count(), stream);
  cpu::parallel_for(stream, x.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
    parts.values()[begin / cpu::kTaskElements] = squares(x.data<float>() + begin, end - begin, exponent);
  });
  Squares all = 0;
  for (const Squares part : parts.values()) all += part;
  return all;
}

}  // namespace tessera::kernels
