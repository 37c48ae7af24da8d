#include "tests/simulated_gpu/runtime/fault.h"

#include <array>
#include <charconv>
#include <sstream>
#include <stdexcept>

namespace simulated_gpu {
namespace {

constexpr const char* kNames[] = {"malloc", "launch", "copy", "collective"};
using Countdowns = std::array<int64_t, std::size(kNames)>;  ///< 0: never
Countdowns countdowns{};

void plan_one(const std::string& entry, Countdowns& planned) {
  const size_t colon = entry.find(':');
  for (size_t kind = 0; kind < planned.size(); ++kind) {
    if (colon == std::string::npos || entry.substr(0, colon) != kNames[kind]) continue;
    const char *begin = entry.data() + colon + 1, *end = entry.data() + entry.size();
    const auto [stop, error] = std::from_chars(begin, end, planned[kind]);
    if (error == std::errc{} && stop == end && planned[kind] > 0) return;
  }
  throw std::runtime_error("SIMULATED_GPU_FAIL: expected malloc:N, launch:N, copy:N or collective:N, got \"" +
                           entry + "\"");
}

}  // namespace

bool is_failure_due(FaultKind kind) {
  int64_t& countdown = countdowns[size_t(kind)];
  return countdown > 0 && --countdown == 0;
}

void plan_failures(const std::string& plan) {
  Countdowns planned{};
  std::istringstream entries(plan);
  for (std::string entry; std::getline(entries, entry, ',');) plan_one(entry, planned);
  countdowns = planned;
}

}  // namespace simulated_gpu
