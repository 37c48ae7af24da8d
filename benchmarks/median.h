#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tessera::benchmarks {

/// The upper one where it lies between two values.
inline double quantile(std::vector<double> values, double share) {
  const auto at = values.begin() + std::min(std::ssize(values) - 1,
                                            static_cast<int64_t>(share * static_cast<double>(values.size())));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}
inline double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

struct Quartiles {
  double lower = 0, median = 0, upper = 0;
};
inline Quartiles quartiles_of(const std::vector<double>& values) {
  return {quantile(values, 0.25), median(values), quantile(values, 0.75)};
}

}  // namespace tessera::benchmarks
