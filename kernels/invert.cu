// Rows by slot to slots by row: a counting sort in which every warp keeps counters of its own, so that slots
// of one row stay in order without sorting them and without atomics.

#include "kernels/launch.cuh"
#include "kernels/permute.h"
#include "kernels/reduce.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kScanThreads = 1024;
constexpr int64_t kChunkSlots = 256;  // least slots of a chunk: eight steps of its warp
constexpr int64_t kMostChunks = 64;   // each has a counter for every row

/// The slots in consecutive chunks, one warp each.
struct Chunks {
  int64_t slots, chunk_slots, chunks, rows;
};

/// counts [chunks, rows], zero before: slots of each row in each chunk.  ranks [slots]: how many slots of the
/// same chunk and row come before.
__global__ void __launch_bounds__(kWarp)
    count_chunk(const int32_t* __restrict__ index, Chunks a, int32_t* counts, int32_t* ranks) {
  int32_t* const mine = counts + blockIdx.x * a.rows;
  const int64_t end = min((blockIdx.x + 1) * a.chunk_slots, a.slots);
  for (int64_t first = blockIdx.x * a.chunk_slots; first < end; first += kWarp) {
    const int64_t slot = first + threadIdx.x;
    const int32_t row = slot < end ? index[slot] : -1;
    require(slot >= end || (0 <= row && row < a.rows));
    const unsigned same = __match_any_sync(kFullMask, row);
    const int before = __popc(same & ((1u << threadIdx.x) - 1));
    const int32_t earlier = row >= 0 ? mine[row] : 0;
    __syncwarp();  // all have read before the first of each row adds
    if (row >= 0) {
      ranks[slot] = earlier + before;
      if (before == 0) mine[row] = earlier + __popc(same);
    }
    __syncwarp();
  }
}

/// Turns counts into sums over the chunks before; totals [rows]: over all chunks.
__global__ void __launch_bounds__(kThreads) add_chunks(int32_t* counts, Chunks a, int32_t* totals) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= a.rows) return;
  int32_t sum = 0;
  for (int64_t chunk = 0; chunk < a.chunks; ++chunk) {
    int32_t& count = counts[chunk * a.rows + row];
    sum += count;
    count = sum - count;
  }
  totals[row] = sum;
}

/// offsets [rows + 1] from totals [rows]; one block.
__global__ void __launch_bounds__(kScanThreads)
    add_rows(const int32_t* __restrict__ totals, int64_t rows, int32_t* offsets) {
  uint32_t before = 0;
  for (int64_t first = 0; first < rows; first += kScanThreads) {
    const int64_t row = first + threadIdx.x;
    const Prefix sum = block_prefix_sum(row < rows ? totals[row] : 0);
    if (row < rows) offsets[row] = static_cast<int32_t>(before + sum.before);
    before += sum.total;
  }
  if (threadIdx.x == 0) offsets[rows] = static_cast<int32_t>(before);
}

__global__ void __launch_bounds__(kThreads)
    place(const int32_t* __restrict__ index, Chunks a, const int32_t* __restrict__ counts,
          const int32_t* __restrict__ ranks, const int32_t* __restrict__ offsets, int32_t* slots) {
  const int64_t slot = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (slot >= a.slots) return;
  const int32_t row = index[slot];
  slots[offsets[row] + counts[slot / a.chunk_slots * a.rows + row] + ranks[slot]] =
      static_cast<int32_t>(slot);
}

}  // namespace

template <>
void invert<Backend::cuda>(const Tensor& index, const Tensor& offsets, const Tensor& slots, Stream stream) {
  Chunks a{};
  a.slots = index.count();
  a.rows = offsets.count() - 1;
  a.chunk_slots = std::max(kChunkSlots, (a.slots + kMostChunks - 1) / kMostChunks);
  a.chunks = (a.slots + a.chunk_slots - 1) / a.chunk_slots;
  const Tensor counts = Tensor::zeros({a.chunks, a.rows}, DType::i32, stream);
  const Tensor totals = Tensor::empty({a.rows}, DType::i32, stream), ranks = Tensor::like(index);
  launch("invert: count", &count_chunk, {blocks_for(a.chunks, 1), kWarp}, stream, index.data<int32_t>(), a,
         counts.data<int32_t>(), ranks.data<int32_t>());
  launch("invert: add chunks", &add_chunks, {blocks_for(a.rows, kThreads), kThreads}, stream,
         counts.data<int32_t>(), a, totals.data<int32_t>());
  launch("invert: add rows", &add_rows, {1, kScanThreads}, stream, totals.data<int32_t>(), a.rows,
         offsets.data<int32_t>());
  launch("invert: place", &place, {blocks_for(a.slots, kThreads), kThreads}, stream, index.data<int32_t>(), a,
         counts.data<int32_t>(), ranks.data<int32_t>(), offsets.data<int32_t>(), slots.data<int32_t>());
}

}  // namespace tessera::kernels
