#include "benchmarks/step_race.h"

#include "benchmarks/median.h"

namespace tessera::benchmarks {

StepRace::StepRace(TrainingStep& step) : step_(step) {
  for (const auto& [product, times] : step.products())
    products_.emplace(product, std::make_unique<MatmulRace>(product));
}

double StepRace::round(const std::function<double()>& step_seconds) {
  const double seconds = step_seconds();
  double gemm_seconds = 0;
  last_seconds_.clear();
  for (const auto& [product, race] : products_) {
    race->round();
    const double best = static_cast<double>(step_.products().at(product)) * race->last_best_seconds();
    last_seconds_[product.form] += best;
    gemm_seconds += best;
  }
  step_gflops_.push_back(1e-9 * static_cast<double>(step_.flops()) / seconds);
  gemm_gflops_.push_back(1e-9 * step_.product_flops() / gemm_seconds);
  return seconds;
}

double StepRace::step_gflops() const { return median(step_gflops_); }
double StepRace::gemm_gflops() const { return median(gemm_gflops_); }
double StepRace::fraction() const {
  std::vector<double> fractions;
  for (size_t round = 0; round < step_gflops_.size(); ++round)
    fractions.push_back(step_gflops_[round] / gemm_gflops_[round]);
  return median(fractions);
}

}  // namespace tessera::benchmarks
