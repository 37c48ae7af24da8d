#include "autograd/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/adamw.h"

namespace tessera {

AdamW::AdamW(std::vector<Optimized> ranges, AdamWConfig config)
    : ranges_(std::move(ranges)), config_(config) {
  for (const Optimized& range : ranges_) {
    first_.push_back(Tensor::zeros(range.value.shape(), DType::f32, range.value.stream()));
    second_.push_back(Tensor::zeros(range.value.shape(), DType::f32, range.value.stream()));
  }
}

void AdamW::step(int64_t step, float rate, float grad_scale) {
  // Powers by repeated squaring in f64: the same bits wherever the run was resumed, on every machine.
  auto correction = [&](double beta) {
    double power = 1;
    for (int64_t exponent = step - config_.first_step + 1; exponent > 0; exponent /= 2, beta *= beta)
      if (exponent % 2) power *= beta;
    return static_cast<float>(1 / (1 - power));
  };
  kernels::AdamWOptions options{.rate = rate,
                                .beta1 = config_.beta1,
                                .beta2 = config_.beta2,
                                .epsilon = config_.epsilon,
                                .correction1 = correction(config_.beta1),
                                .correction2 = correction(config_.beta2),
                                .grad_scale = grad_scale};
  for (size_t i = 0; i < ranges_.size(); ++i) {
    const Optimized& range = ranges_[i];
    if (!range.trained) continue;
    options.decay = range.decays ? config_.decay : 0;
    kernels::adamw(range.value, range.grad, first_[i], second_[i], range.rounded, options,
                   range.value.stream());
  }
}

float learning_rate(const ScheduleConfig& schedule, int64_t step, int64_t steps) {
  const double peak = schedule.peak, end = schedule.end;
  step -= schedule.first_step;
  steps -= schedule.first_step;
  if (step < schedule.warmup)
    return static_cast<float>(peak * static_cast<double>(step + 1) / static_cast<double>(schedule.warmup));
  if (schedule.kind == "constant") return schedule.peak;
  const double start = schedule.kind == "wsd"
                           ? std::max(schedule.stable * static_cast<double>(steps), double(schedule.warmup))
                           : double(schedule.warmup);
  const double length = static_cast<double>(steps - 1) - start;
  const double done = length > 0 ? std::clamp((static_cast<double>(step) - start) / length, 0.0, 1.0) : 1;
  const double left =
      schedule.kind == "cosine" ? 0.5 * (1 + std::cos(3.14159265358979323846 * done)) : 1 - done;
  return static_cast<float>(end + (peak - end) * left);
}

}  // namespace tessera
