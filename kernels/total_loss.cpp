#include "kernels/total_loss.h"

#include "kernels/backend.h"

namespace tessera::kernels {

void total_loss(const Tensor& nll, const Tensor& log_sum, const Tensor& total, CrossEntropyOptions options,
                Stream stream) {
  TESSERA_CHECK(nll.dtype() == DType::f32 && log_sum.dtype() == DType::f32 && total.dtype() == DType::f32,
                "total_loss: nll, log_sum and total must be f32, got ", nll.dtype(), ", ", log_sum.dtype(),
                ", ", total.dtype());
  TESSERA_CHECK(nll.shape() == log_sum.shape() && total.count() == 1, "total_loss: log_sum must be ",
                nll.shape(), " like nll and total one element, got ", log_sum.shape(), " and ",
                total.shape());
  on_backend(stream, [&]<Backend B>() { total_loss<B>(nll, log_sum, total, options, stream); });
}

template <>
void total_loss<Backend::cpu>(const Tensor& nll, const Tensor& log_sum, const Tensor& total,
                              CrossEntropyOptions options, Stream) {
  const float* loss = nll.data<float>();
  const float* log = log_sum.data<float>();
  double sum = 0;
  for (int64_t row = 0; row < nll.count(); ++row)
    sum += loss[row] + double(options.z_loss) * log[row] * log[row];
  total.data<float>()[0] = static_cast<float>(options.scale * sum);
}

}  // namespace tessera::kernels
