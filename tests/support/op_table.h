#pragma once
// What the files of the op table (op_case.h) share: each appends the cases of its functions.

#include "runtime/random.h"
#include "tests/support/op_case.h"

namespace tessera::op_table {

using Vars = std::span<const Var>;
using Truth = std::span<const Values>;
using Ids = std::vector<int32_t>;
using Offsets = std::vector<int64_t>;

inline std::string size_name(const std::string& op, std::initializer_list<int64_t> sizes) {
  std::string name = op;
  const char* before = "/";
  for (int64_t size : sizes) name += str(std::exchange(before, "x"), size);
  return name;
}

inline Tensor tensor_of(const Ids& ids, Stream stream) {
  return Tensor::from(ids, {std::ssize(ids)}, stream);
}

inline Ids random_ids(const char* purpose, int64_t count, int64_t bound) {
  Ids ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>(random_below(1, Purpose(purpose), uint64_t(i), uint64_t(bound))));
  return ids;
}

// The first addition to an empty sum is exact.
inline int64_t additions(int64_t summands) { return std::max<int64_t>(summands - 1, 0); }

void add_loss_cases(std::vector<OpCase>& cases);
void add_cache_cases(std::vector<OpCase>& cases);

}  // namespace tessera::op_table
