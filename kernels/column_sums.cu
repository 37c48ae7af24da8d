#include "kernels/column_sums.cuh"

namespace tessera::kernels {
namespace {

constexpr int kSumWarps = 16;  // each adds up every 16th block's sums, so that many loads are under way

/// One block adds up 32 slots.
__global__ void __launch_bounds__(kSumWarps* kWarp)
    sum_blocks(const float* __restrict__ partials, int64_t blocks, RowGroup group, int vector,
               float* __restrict__ sums) {
  const int slots = kRowElements * group.threads, lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int slot = blockIdx.x * kWarp + lane;
  float mine = 0;
  if (slot < slots)
    for (int64_t block = warp; block < blocks; block += kSumWarps) mine += partials[block * slots + slot];
  __shared__ float parts[kSumWarps][kWarp];
  parts[warp][lane] = mine;
  __syncthreads();
  const int element = slot / group.threads, member = slot % group.threads;
  const int col = (element / vector * group.threads + member) * vector + element % vector;
  if (warp == 0 && slot < slots && col < group.cols) {
    float sum = 0;
    for (int other = 0; other < kSumWarps; ++other) sum += parts[other][lane];
    sums[col] = sum;
  }
}

}  // namespace

void add_up_blocks(const char* name, const float* partials, int64_t blocks, RowGroup group, int vector,
                   const Tensor& sums, Stream stream) {
  launch(name, &sum_blocks, {blocks_for(kRowElements * group.threads, kWarp), kSumWarps * kWarp}, stream,
         partials, blocks, group, vector, sums.data<float>());
}

}  // namespace tessera::kernels
