#include "kernels/fill.h"

#include <algorithm>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"

namespace tessera::kernels {

void fill(const Tensor& y, float value, Stream stream) {
  const Check check{"fill", stream};
  check.present("y", y);
  check.tensor("y", y, y.shape(), DType::f32);
  on_backend(stream, [&]<Backend B>() { fill<B>(y, value, stream); });
}

template <>
void fill<Backend::cpu>(const Tensor& y, float value, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "fill", y);
  float* const values = y.data<float>();
  cpu::parallel_for(stream, y.count(), cpu::kTaskElements,
                    [&](int64_t begin, int64_t end) { std::fill(values + begin, values + end, value); });
}

}  // namespace tessera::kernels
