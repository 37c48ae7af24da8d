#pragma once
// One matrix product by our kernels, oneDNN and OpenBLAS in turns, so that all three meet the machine in the
// same state.

#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/dtype.h"

namespace tessera::benchmarks {

enum class ProductForm { forward, backward_input, backward_weight };

/// x [rows, in], weight [out, in], dy [rows, out]; all of dtype, but for the f32 gradient of the weight.
struct ProductCase {
  ProductForm form;
  int64_t rows, in, out;
  DType dtype;
  int threads;

  friend auto operator<=>(const ProductCase&, const ProductCase&) = default;
  double flops() const {
    return 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
  }
};

class MatmulRace {
 public:
  explicit MatmulRace(const ProductCase& product);
  ~MatmulRace();

  /// Runs each contestant for a few milliseconds.  Returns the seconds that one product of ours took.
  double round();

  /// Medians over the rounds so far, in GFLOP/s.  OpenBLAS has no bf16 product and stays 0 there; below Isa::avx512_bf16 oneDNN has none
  /// either or a slow one, and both multiply f32 instead.
  double ours() const;
  double onednn() const;
  double openblas() const;
  double best_library() const;
  /// Seconds of one product by the fastest of the three in the last round.
  double last_best_seconds() const;

 private:
  struct Contestants;
  double rate(const std::vector<double>& seconds) const;

  ProductCase product_;
  std::unique_ptr<Contestants> contestants_;
  std::vector<double> ours_, onednn_, openblas_;  ///< seconds of one product, one entry a round
};

}  // namespace tessera::benchmarks
