#include "kernels/rows.cuh"

#include "kernels/launch.cuh"
#include "kernels/reduce.cuh"
#include "kernels/vector_load.cuh"

namespace tessera::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

enum class Numbered : uint8_t { source, target };  ///< whose rows the index counts

/// One warp copies one row of so many words; rows: of the tensor that the index counts in.
template <Numbered kNumbered, class Word>
__global__ void __launch_bounds__(kThreads)
    copy_rows_of(const Word* __restrict__ x, int64_t rows, const int32_t* __restrict__ index, int64_t count,
                 Word* __restrict__ y, int64_t words) {
  const int64_t slot = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (slot >= count) return;
  const int32_t row = index[slot];
  require(0 <= row && row < rows);
  const Word* const from = x + (kNumbered == Numbered::source ? row : slot) * words;
  Word* const to = y + (kNumbered == Numbered::target ? row : slot) * words;
  for (int64_t word = threadIdx.x % kWarp; word < words; word += kWarp) to[word] = from[word];
}

template <Numbered kNumbered>
void copy_numbered(const char* name, const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  const int64_t row_bytes = x.shape()[1] * bytes_of(x.dtype());
  const int64_t rows = kNumbered == Numbered::source ? x.shape()[0] : y.shape()[0];
  const auto copy_words = [&]<class Word>(Word) {
    launch(name, &copy_rows_of<kNumbered, Word>, {blocks_for(index.count(), kWarps), kThreads}, stream,
           static_cast<const Word*>(x.bytes_data()), rows, index.data<int32_t>(), index.count(),
           static_cast<Word*>(y.bytes_data()), row_bytes / static_cast<int64_t>(sizeof(Word)));
  };
  if (row_bytes % 16 == 0 && aligned_for_vectors(x.bytes_data(), y.bytes_data()))
    copy_words(uint4{});
  else
    visit_float(x.dtype(), [&]<class T>() { copy_words(T{}); });
}

template <class From, class To>
struct SumRows {
  const From* x;
  int64_t slot_count;
  const float* gates;  ///< may be null
  const int32_t *offsets, *slots;
  To* y;
  int64_t width;
};

/// One block makes one row; a thread makes N neighbouring columns of it at a time.
template <int N, class From, class To>
__global__ void __launch_bounds__(kThreads) sum_rows_of(SumRows<From, To> a) {
  constexpr bool kVectors = N > 1;
  const int64_t row = blockIdx.x;
  const int begin = a.offsets[row], end = a.offsets[row + 1];
  require(0 <= begin && begin <= end && end <= a.slot_count);
  for (int64_t col = int64_t{threadIdx.x} * N; col < a.width; col += kThreads * N) {
    float sum[N] = {};
    for (int at = begin; at < end; ++at) {
      const int32_t slot = a.slots[at];
      require(0 <= slot && slot < a.slot_count);
      float x[N];
      load<kVectors>(a.x + slot * a.width + col, a.width - col, x);
      const float gate = a.gates ? a.gates[slot] : 1;
#pragma unroll
      for (int n = 0; n < N; ++n) sum[n] = a.gates ? fmaf(gate, x[n], sum[n]) : sum[n] + x[n];
    }
    store<kVectors>(a.y + row * a.width + col, a.width - col, sum);
  }
}

template <class From, class To>
void sum_rows_into(const char* name, const SumRows<From, To>& arguments, int64_t rows, Stream stream) {
  constexpr int kVector = kVectorElements<From, To>;
  const bool vectors = arguments.width % kVector == 0 && aligned_for_vectors(arguments.x, arguments.y);
  launch(name, vectors ? &sum_rows_of<kVector, From, To> : &sum_rows_of<1, From, To>,
         {blocks_for(rows, 1), kThreads}, stream, arguments);
}

}  // namespace

void copy_rows(const char* name, const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  copy_numbered<Numbered::source>(name, x, index, y, stream);
}

void place_rows(const char* name, const Tensor& x, const Tensor& index, const Tensor& y, Stream stream) {
  copy_numbered<Numbered::target>(name, x, index, y, stream);
}

void sum_rows(const char* name, const Tensor& x, const float* gates, const RowSlots& of_row, const Tensor& y,
              Stream stream) {
  visit_float(x.dtype(), [&]<class From>() {
    const auto into = [&]<class To>(To* to) {
      sum_rows_into<From, To>(name,
                              {x.data<From>(), x.shape()[0], gates, of_row.offsets.data<int32_t>(),
                               of_row.slots.data<int32_t>(), to, x.shape()[1]},
                              y.shape()[0], stream);
    };
    y.dtype() == DType::f32 ? into(y.data<float>()) : into(y.data<From>());
  });
}

}  // namespace tessera::kernels
