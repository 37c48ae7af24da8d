#include "kernels/random_fill.h"

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/parallel_for.h"

namespace tessera::kernels {

void fill_normal(const Tensor& y, NormalOptions options, Stream stream) {
  const Check check{"fill_normal", stream};
  check.present("y", y);
  check.tensor("y", y, y.shape(), DType::f32);
  on_backend(stream, [&]<Backend B>() { fill_normal<B>(y, options, stream); });
}

template <>
void fill_normal<Backend::cpu>(const Tensor& y, NormalOptions options, Stream stream) {
  TraceRange range(engine_of(stream).trace, "fill_normal");
  float* const values = y.data<float>();
  cpu::parallel_for(stream, y.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      values[i] =
          options.deviation * static_cast<float>(random_normal(options.seed, options.purpose,
                                                               static_cast<uint64_t>(options.begin + i)));
  });
}

}  // namespace tessera::kernels
