#include "kernels/expert_choice.h"

#include <algorithm>
#include <vector>

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 32;                       // experts and candidates that one block turns around
constexpr int64_t kMostSharedKeys = 12 * 1024;  // of a pool; they take 48 KiB of shared memory

/// A number that increases with the score: 0 for NaN, more for everything else, the same for both zeros.
__device__ uint32_t key_of(float score) {
  if (isnan(score)) return 0;
  const uint32_t bits = __float_as_uint(score + 0.0f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

struct Scores {
  const float* of_group;  ///< row 0, first expert of the group
  int64_t rows, stride;
  const int32_t* candidates;
  int64_t count;
  int experts;
};

/// keys [experts, count] of the candidates' scores.  A block turns around a tile, so that both sides are in
/// full lines.
__global__ void __launch_bounds__(kThreads) make_keys(Scores a, uint32_t* keys) {
  constexpr int kTileRows = kThreads / kTile;  // of the tile, at a time
  __shared__ uint32_t tile[kTile][kTile + 1];  // one more, so that neither side meets one bank alone
  const int lane = threadIdx.x % kTile, first = threadIdx.x / kTile;
  const int64_t candidate = int64_t{blockIdx.x} * kTile;
  const int expert = blockIdx.y * kTile;
#pragma unroll
  for (int i = first; i < kTile; i += kTileRows) {
    const int64_t at = candidate + i;
    if (at >= a.count) break;
    const int32_t row = a.candidates[at];
    require(0 <= row && row < a.rows && (at == 0 || a.candidates[at - 1] < row));
    if (expert + lane < a.experts) tile[i][lane] = key_of(a.of_group[row * a.stride + expert + lane]);
  }
  __syncthreads();
#pragma unroll
  for (int i = first; i < kTile; i += kTileRows)
    if (expert + i < a.experts && candidate + lane < a.count)
      keys[(expert + i) * a.count + candidate + lane] = tile[lane][i];
}

/// Numbers of one pool each: where its candidates begin, where its chosen rows begin; one more at the end.
struct Pools {
  const int32_t *begins, *chosen_begins;
};

/// The largest key that at least so many of the keys reach, found bit by bit from the highest.
__device__ uint32_t threshold_of(const uint32_t* keys, int count, int wanted) {
  uint32_t threshold = 0;
  for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
    const uint32_t trial = threshold | bit;
    int reached = 0;
    for (int i = threadIdx.x; i < count; i += kThreads) reached += keys[i] >= trial;
    if (block_reduce(reached, Sum{}) >= wanted) threshold = trial;
  }
  return threshold;
}

/// Writes the candidates above the threshold, and of those at it the first ones, until as many as wanted.
__device__ void write_chosen(const uint32_t* keys, const int32_t* candidates, int count, uint32_t threshold,
                             int wanted, int32_t* chosen) {
  int above = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) above += keys[i] > threshold;
  const uint32_t equals = wanted - block_reduce(above, Sum{});
  uint32_t above_before = 0, equal_before = 0;
  for (int first = 0; first < count; first += kThreads) {
    const int i = first + threadIdx.x;
    const bool greater = i < count && keys[i] > threshold, equal = i < count && keys[i] == threshold;
    const Prefix sum = block_prefix_sum(greater | static_cast<uint32_t>(equal) << 16);  // two in one
    const uint32_t equal_here = equal_before + (sum.before >> 16);
    if (greater || (equal && equal_here < equals))
      chosen[above_before + (sum.before & 0xffff) + min(equal_here, equals)] = candidates[i];
    above_before += sum.total & 0xffff;
    equal_before += sum.total >> 16;
  }
}

/// One block chooses for one expert (x) from one pool (y).  With kShared the pool's keys fit into shared
/// memory.
template <bool kShared>
__global__ void __launch_bounds__(kThreads)
    choose(const uint32_t* __restrict__ keys, const int32_t* __restrict__ candidates, int64_t count,
           Pools pools, int32_t* __restrict__ chosen, int64_t total) {
  const int begin = pools.begins[blockIdx.y], size = pools.begins[blockIdx.y + 1] - begin;
  const int out = pools.chosen_begins[blockIdx.y], wanted = pools.chosen_begins[blockIdx.y + 1] - out;
  const uint32_t* mine = keys + blockIdx.x * count + begin;
  if constexpr (kShared) {
    uint32_t* const copy = shared_memory<uint32_t>();
    // No barrier: a thread reads the keys that it copied, here and below.
    for (int i = threadIdx.x; i < size; i += kThreads) copy[i] = mine[i];
    mine = copy;
  }
  const uint32_t threshold = threshold_of(mine, size, wanted);
  write_chosen(mine, candidates + begin, size, threshold, wanted, chosen + blockIdx.x * total + out);
}

}  // namespace

template <>
void expert_choice<Backend::cuda>(const Tensor& scores, const Tensor& candidates, const Tensor& chosen,
                                  ExpertChoiceOptions options, Stream stream) {
  const int64_t count = candidates.count(), experts = chosen.shape()[0], total = chosen.shape()[1];
  const auto pools = static_cast<unsigned>(options.counts.size());
  std::vector<int32_t> numbers(options.pools.begin(), options.pools.end());
  int64_t largest = 0, chosen_before = 0;
  for (size_t pool = 0; pool < pools; ++pool) {
    largest = std::max(largest, options.pools[pool + 1] - options.pools[pool]);
    numbers.push_back(static_cast<int32_t>(chosen_before));
    chosen_before += options.counts[pool];
  }
  numbers.push_back(static_cast<int32_t>(chosen_before));
  const Tensor on_device = Tensor::from(numbers, {std::ssize(numbers)}, stream);
  const Pools offsets{on_device.data<int32_t>(), on_device.data<int32_t>() + pools + 1};
  const Tensor keys = Tensor::empty({experts, count, 4}, DType::u8, stream);
  auto* const key = static_cast<uint32_t*>(keys.bytes_data());

  const Scores rows{scores.data<float>() + options.column,
                    scores.shape()[0],
                    scores.shape()[1],
                    candidates.data<int32_t>(),
                    count,
                    static_cast<int>(experts)};
  launch("expert_choice: keys", &make_keys,
         {{blocks_for(count, kTile), blocks_for(experts, kTile)}, kThreads}, stream, rows, key);
  const bool shared = largest <= kMostSharedKeys;
  launch("expert_choice", shared ? &choose<true> : &choose<false>,
         {{static_cast<unsigned>(experts), pools}, kThreads, shared ? largest * sizeof(uint32_t) : 0}, stream,
         key, candidates.data<int32_t>(), count, offsets, chosen.data<int32_t>(), total);
}

}  // namespace tessera::kernels
