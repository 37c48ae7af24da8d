#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tessera::benchmarks {

/// The upper one of an even number.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace tessera::benchmarks
