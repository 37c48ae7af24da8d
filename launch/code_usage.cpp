#include "launch/code_usage.h"

#include <algorithm>
#include <cmath>

#include "runtime/random.h"

namespace tessera {
namespace {

constexpr Purpose kRevive("codes that start anew");

/// A place in the running sums where a number drawn below the last of them falls.
size_t draw(const std::vector<double>& running, double uniform) {
  const auto found = std::upper_bound(running.begin(), running.end(), uniform * running.back());
  return static_cast<size_t>(std::min(found, running.end() - 1) - running.begin());
}

/// Elements of code by code, in a range of the flattened codebook, replaced by what value(code, k) says.
template <class Value>
void overwrite(const Tensor& tensor, int64_t begin, int64_t width, const std::vector<int64_t>& codes,
               const Value& value) {
  std::vector<float> values = tensor.to_vector<float>();
  for (size_t i = 0; i < codes.size(); ++i)
    for (int64_t k = 0; k < width; ++k) {
      const int64_t at = codes[i] * width + k - begin;
      if (0 <= at && at < std::ssize(values)) values[static_cast<size_t>(at)] = value(i, k);
    }
  tensor.assign(std::span<const float>(values));
}

}  // namespace

CodeUsage usage_of(std::span<const int64_t> counts) {
  double total = 0, entropy = 0;
  int64_t used = 0;
  for (int64_t count : counts) total += static_cast<double>(count);
  if (total == 0) return {};
  for (int64_t count : counts) {
    if (count == 0) continue;
    ++used;
    const double share = static_cast<double>(count) / total;
    entropy -= share * std::log(share);
  }
  return {static_cast<double>(used) / static_cast<double>(counts.size()), std::exp(entropy)};
}

int64_t revive_codes(std::span<const int64_t> counts, const EncodedRows& encoded, int64_t step, uint64_t seed,
                     const std::string& codebook, const std::vector<ShardPiece>& pieces,
                     const AdamW& optimizer) {
  std::vector<int64_t> dead;
  for (size_t code = 0; code < counts.size(); ++code)
    if (counts[code] == 0) dead.push_back(static_cast<int64_t>(code));
  std::vector<double> running;
  double sum = 0;
  for (float error : encoded.errors) running.push_back(sum += static_cast<double>(error));
  if (dead.empty() || !(sum > 0)) return 0;

  const uint64_t step_seed = random_u64(seed, kRevive, static_cast<uint64_t>(step));
  std::vector<size_t> rows;
  for (int64_t code : dead)
    rows.push_back(draw(running, random_uniform(step_seed, kRevive, static_cast<uint64_t>(code))));
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].parameter->name != codebook) continue;
    overwrite(pieces[i].value, pieces[i].begin, encoded.width, dead, [&](size_t n, int64_t k) {
      return encoded.rows[rows[n] * static_cast<size_t>(encoded.width) + static_cast<size_t>(k)];
    });
    const auto nothing = [](size_t, int64_t) { return 0.0f; };
    overwrite(optimizer.first(i), pieces[i].begin, encoded.width, dead, nothing);
    overwrite(optimizer.second(i), pieces[i].begin, encoded.width, dead, nothing);
  }
  return std::ssize(dead);
}

}  // namespace tessera
