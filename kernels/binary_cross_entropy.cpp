#include "kernels/binary_cross_entropy.h"

#include <span>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/cpu/kernel_range.h"
#include "kernels/cpu/parallel_for.h"
#include "kernels/total_loss.h"

#define TESSERA_KERNELS "kernels/cpu/binary_cross_entropy.inc"
#include "kernels/cpu/each_isa.h"

namespace tessera::kernels {
namespace {

void check_predictions(const Check& check, const Tensor& logits, const Tensor& targets) {
  check.present("logits", logits);
  check.tensor("logits", logits, logits.shape(), DType::f32);
  check.tensor("targets", targets, logits.shape(), DType::u8);
}

/// A pass that does not stop at the first wrong target takes whole vectors of bytes; values() then finds the target.
void check_targets(const Check& check, std::span<const uint8_t> targets) {
  uint8_t bits = 0;
  for (const uint8_t target : targets) bits |= target;
  if (bits > 1) check.values("targets", targets, 0, 2);
}

}  // namespace

void binary_cross_entropy_forward(const Tensor& logits, const Tensor& targets, const Tensor& total,
                                  float scale, Stream stream) {
  const Check check{"binary_cross_entropy_forward", stream};
  check_predictions(check, logits, targets);
  check.tensor("total", total, {1}, DType::f32);
  on_backend(stream,
             [&]<Backend B>() { binary_cross_entropy_forward<B>(logits, targets, total, scale, stream); });
}

template <>
void binary_cross_entropy_forward<Backend::cpu>(const Tensor& logits, const Tensor& targets,
                                                const Tensor& total, float scale, Stream stream) {
  const TraceRange range = cpu::kernel_range(stream, "binary_cross_entropy_forward", logits, targets);
  check_targets({"binary_cross_entropy_forward", stream}, targets.values<uint8_t>());
  constexpr int64_t kBlock = kBinaryCrossEntropyBlock;
  const Tensor blocks = Tensor::empty({(logits.count() + kBlock - 1) / kBlock}, DType::f32, stream);
  auto* const sum = cpu::select(stream, avx2::sum_of_losses, avx512::sum_of_losses);
  cpu::parallel_for(stream, logits.count(), kBlock, [&](int64_t begin, int64_t end) {
    blocks.data<float>()[begin / kBlock] =
        sum(logits.data<float>() + begin, targets.data<uint8_t>() + begin, end - begin);
  });
  const Tensor no_log_sum = Tensor::zeros(blocks.shape(), DType::f32, stream);
  total_loss<Backend::cpu>(blocks, no_log_sum, total, {.scale = scale}, stream);
}

void binary_cross_entropy_backward(const Tensor& logits, const Tensor& targets, const Tensor& dtotal,
                                   const Tensor& dlogits, float scale, Stream stream) {
  const Check check{"binary_cross_entropy_backward", stream};
  check_predictions(check, logits, targets);
  check.tensor("dtotal", dtotal, {1}, DType::f32);
  check.tensor("dlogits", dlogits, logits.shape(), DType::f32);
  on_backend(stream, [&]<Backend B>() {
    binary_cross_entropy_backward<B>(logits, targets, dtotal, dlogits, scale, stream);
  });
}

template <>
void binary_cross_entropy_backward<Backend::cpu>(const Tensor& logits, const Tensor& targets,
                                                 const Tensor& dtotal, const Tensor& dlogits, float scale,
                                                 Stream stream) {
  const TraceRange range =
      cpu::kernel_range(stream, "binary_cross_entropy_backward", logits, targets, dlogits);
  check_targets({"binary_cross_entropy_backward", stream}, targets.values<uint8_t>());
  const float factor = dtotal.values<float>()[0] * scale;
  auto* const gradient =
      cpu::select(stream, avx2::binary_cross_entropy_gradient, avx512::binary_cross_entropy_gradient);
  cpu::parallel_for(stream, logits.count(), cpu::kTaskElements, [&](int64_t begin, int64_t end) {
    gradient(logits.data<float>() + begin, targets.data<uint8_t>() + begin, factor,
             dlogits.data<float>() + begin, end - begin);
  });
}

}  // namespace tessera::kernels
