#pragma once
// Tensors for tests of kernels: drawn from a seed, read as double, compared by bits, fenced by canaries.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cpu_engine.h"
#include "runtime/random.h"
#include "runtime/tensor.h"

namespace tessera {

/// Uniform in [-largest, largest].
inline Tensor uniform_tensor(std::string_view name, Shape shape, DType dtype, Stream stream,
                             double largest = 1) {
  const Tensor tensor = Tensor::empty(shape, dtype, stream);
  const Purpose purpose(name);
  visit_float(dtype, [&]<class T>() {
    uint64_t index = 0;
    for (T& value : tensor.values<T>())
      value = T(static_cast<float>(largest * (2 * random_uniform(1, purpose, index++) - 1)));
  });
  return tensor;
}

inline std::vector<double> values_of(const Tensor& tensor) {
  std::vector<double> values;
  visit_float(tensor.dtype(), [&]<class T>() {
    for (const T value : tensor.to_vector<T>())
      values.push_back(static_cast<double>(static_cast<float>(value)));
  });
  return values;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  if (a.bytes() == 0) return true;
  return visit_any(a.dtype(), [&]<class T>() {
    const std::vector<T> left = a.to_vector<T>(), right = b.to_vector<T>();
    return std::memcmp(left.data(), right.data(), static_cast<size_t>(a.bytes())) == 0;
  });
}

inline Tensor copy_of(const Tensor& tensor) {
  const Tensor same = Tensor::like(tensor);
  copy(tensor, same);
  return same;
}

/// The levels of vector code that this processor has.
inline std::vector<Isa> vector_levels() {
  return detect_isa() >= Isa::avx512 ? std::vector{Isa::avx2, Isa::avx512} : std::vector{Isa::avx2};
}

/// The levels that multiply bf16.  Without a matrix unit Isa::amx runs on a plain one (kernels/cpu/tile_unit.h), beside vectors of
/// AVX512_BF16.
inline std::vector<Isa> bf16_levels() {
  return supports(Isa::avx512_bf16) ? std::vector{Isa::avx512_bf16, Isa::amx} : std::vector<Isa>();
}

inline std::vector<Isa> all_levels() {
  std::vector<Isa> levels = vector_levels();
  for (const Isa isa : bf16_levels()) levels.push_back(isa);
  return levels;
}

/// Rows [begin, end) of the first dim, in place.
inline Tensor rows_of(const Tensor& tensor, int64_t begin, int64_t end) {
  const Shape& shape = tensor.shape();
  const int64_t row = shape[0] > 0 ? shape.count() / shape[0] : 0;
  switch (shape.rank()) {
    case 1:
      return tensor.slice(begin * row, {end - begin});
    case 2:
      return tensor.slice(begin * row, {end - begin, shape[1]});
    default:
      return tensor.slice(begin * row, {end - begin, shape[1], shape[2]});
  }
}

/// Hands out tensors to write to, each between two stretches of canaries.
class Outputs {
 public:
  explicit Outputs(Stream stream) : stream_(stream) {}

  Tensor make(Shape shape, DType dtype) {
    const Tensor fenced = Tensor::empty({shape.count() + 2 * kFence}, dtype, stream_);
    std::memset(fenced.bytes_data(), kCanary, static_cast<size_t>(fenced.bytes()));
    fenced_.push_back(fenced);
    made_.push_back(fenced.slice(kFence, shape));
    return made_.back();
  }
  /// As make, holding what tensor holds: for kernels that work in place.
  Tensor make_like(const Tensor& tensor) {
    const Tensor made = make(tensor.shape(), tensor.dtype());
    copy(tensor, made);
    return made;
  }
  const std::vector<Tensor>& all() const { return made_; }

  void expect_intact(const std::string& what) const {
    for (size_t i = 0; i < fenced_.size(); ++i) {
      const auto* bytes = static_cast<const uint8_t*>(fenced_[i].bytes_data());
      const int64_t total = fenced_[i].bytes(), fence = kFence * bytes_of(fenced_[i].dtype());
      for (int64_t at = 0; at < fence; ++at)
        ASSERT_TRUE(bytes[at] == kCanary && bytes[total - 1 - at] == kCanary)
            << what << ": output " << i << " was left by " << at << " bytes";
    }
  }

 private:
  static constexpr int64_t kFence = 67;  // odd, so that outputs are not aligned to vectors
  static constexpr uint8_t kCanary = 0x5a;
  Stream stream_;
  std::vector<Tensor> fenced_, made_;
};

}  // namespace tessera
