#pragma once
// A training step against the rate of its own matrix products.

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "benchmarks/training_step.h"

namespace tessera::benchmarks {

/// Turns of one step and of each of its matrix products by our kernels, oneDNN and OpenBLAS, so that both meet the
/// machine in the same state.  A product's seconds are those of the fastest of the three in that turn.
class StepRace {
 public:
  explicit StepRace(TrainingStep& step);

  /// Runs step_seconds(), which returns the seconds of a step, then the products.  Returns the seconds of the step.
  double round(const std::function<double()>& step_seconds);
  double round() {
    return round([this] { return step_.run(); });
  }

  /// Seconds of all products of a form in a step, at the best rates of the last round.
  const std::map<ProductForm, double>& last_product_seconds() const { return last_seconds_; }

  /// Medians over the rounds so far.
  double step_gflops()
      const;  ///< the ledger's operations, products and attention, over the seconds of the step
  double gemm_gflops() const;  ///< operations of the products over their seconds
  double fraction() const;     ///< step_gflops over gemm_gflops of the same round

 private:
  TrainingStep& step_;
  std::map<ProductCase, std::unique_ptr<MatmulRace>> products_;
  std::map<ProductForm, double> last_seconds_;
  std::vector<double> step_gflops_, gemm_gflops_;  ///< one entry a round
};

}  // namespace tessera::benchmarks
