#pragma once
// AdamW over ranges of parameters, and the learning rate over steps.

#include <string>
#include <vector>

#include "autograd/parameter.h"
#include "runtime/fields.h"

namespace tessera {

struct AdamWConfig {
  float beta1 = 0.9f;
  float beta2 = 0.95f;
  float epsilon = 1e-8f;
  float decay = 0.1f;
  int64_t first_step = 0;

  auto fields() {
    return std::tuple{
        Field{"beta1", beta1, "decay of the gradient average", 0, 1},
        Field{"beta2", beta2, "decay of the squared gradient average", 0, 1},
        Field{"epsilon", epsilon, "added to the root of the squared average", 0},
        Field{"decay", decay, "decoupled weight decay of matrices; vectors are not decayed", 0},
        Field{"first_step", first_step, "step at which the averages started from zero; set by upcycling", 0}};
  }
};

/// f32 arrays [n] of one range that the optimizer updates.
struct Optimized {
  Tensor value, grad;
  bool decays;
  bool trained = true;  ///< else it stays as it is
  Tensor rounded{};     ///< bf16 [n], to be written with every new value; or none
};

class AdamW {
 public:
  AdamW(std::vector<Optimized> ranges, AdamWConfig config);

  /// One update.  step counts from 0; gradients are multiplied by grad_scale first.
  void step(int64_t step, float rate, float grad_scale);

  /// Moments of range i, f32 [n]; for checkpoints.
  const Tensor& first(size_t i) const { return first_[i]; }
  const Tensor& second(size_t i) const { return second_[i]; }

 private:
  std::vector<Optimized> ranges_;
  std::vector<Tensor> first_, second_;
  AdamWConfig config_;
};

struct ScheduleConfig {
  std::string kind = "cosine";
  float peak = 1e-3f;
  float end = 1e-5f;
  int64_t warmup = 100;
  double stable = 0.8;
  int64_t first_step = 0;

  auto fields() {
    return std::tuple{Field{"kind", kind,
                            "one of constant|linear|cosine|wsd: shape after the warm-up; wsd = warm-up, "
                            "stable, linear decay"},
                      Field{"peak", peak, "learning rate at the end of the warm-up", 0},
                      Field{"end", end, "learning rate at the last step (not used by constant)", 0},
                      Field{"warmup", warmup, "steps of linear warm-up from 0", 0},
                      Field{"stable", stable, "wsd: share of all steps after which the decay begins", 0, 1},
                      Field{"first_step", first_step,
                            "step at which the schedule begins, warm-up included; set by upcycling", 0}};
  }
};

/// Learning rate of a step in [first_step, steps).
float learning_rate(const ScheduleConfig& schedule, int64_t step, int64_t steps);

}  // namespace tessera
