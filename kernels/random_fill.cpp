#include "kernels/random_fill.h"

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"
#include "runtime/logistic_quantile.h"

namespace tessera::kernels {
namespace {

void check_filled(const Check& check, const Tensor& y) {
  check.present("y", y);
  check.tensor("y", y, y.shape(), DType::f32);
}

/// y[i] = draw(begin + i)
template <class Draw>
void fill_by_index(const char* name, const Tensor& y, int64_t begin, Stream stream, const Draw& draw) {
  const TraceRange range = cpu::kernel_range(stream, name, y);
  float* const values = y.data<float>();
  cpu::parallel_for(stream, y.count(), cpu::kTaskElements, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i) values[i] = draw(static_cast<uint64_t>(begin + i));
  });
}

}  // namespace

void fill_normal(const Tensor& y, NormalOptions options, Stream stream) {
  check_filled({"fill_normal", stream}, y);
  on_backend(stream, [&]<Backend B>() { fill_normal<B>(y, options, stream); });
}

template <>
void fill_normal<Backend::cpu>(const Tensor& y, NormalOptions options, Stream stream) {
  fill_by_index("fill_normal", y, options.begin, stream, [&](uint64_t index) {
    return options.deviation * static_cast<float>(random_normal(options.seed, options.purpose, index));
  });
}

void fill_logistic(const Tensor& y, LogisticOptions options, Stream stream) {
  check_filled({"fill_logistic", stream}, y);
  on_backend(stream, [&]<Backend B>() { fill_logistic<B>(y, options, stream); });
}

template <>
void fill_logistic<Backend::cpu>(const Tensor& y, LogisticOptions options, Stream stream) {
  fill_by_index("fill_logistic", y, options.begin, stream, [&](uint64_t index) {
    return static_cast<float>(logistic_quantile(random_uniform(options.seed, options.purpose, index)));
  });
}

}  // namespace tessera::kernels
