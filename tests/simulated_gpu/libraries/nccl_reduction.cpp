#include "tests/simulated_gpu/libraries/nccl_reduction.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace simulated_gpu {
namespace {

template <class T>
constexpr bool kIsHalf = std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>;

/// What one hop computes in, before it rounds to T.
template <class T>
using Wide = std::conditional_t<kIsHalf<T>, float, T>;

template <class T>
T combine(T a, T b, ncclRedOp_t op) {
  const auto x = static_cast<Wide<T>>(a), y = static_cast<Wide<T>>(b);
  switch (op) {
    case ncclProd:
      return static_cast<T>(x * y);
    case ncclMax:
      return static_cast<T>(std::max(x, y));
    case ncclMin:
      return static_cast<T>(std::min(x, y));
    default:
      return static_cast<T>(x + y);
  }
}

template <class T>
T reduce_element(const T* first, size_t stride, int ranks, int start, ncclRedOp_t op) {
  const auto scaled = [&](T value) {
    if constexpr (std::is_integral_v<T>)
      return value;
    else
      return op == ncclAvg ? static_cast<T>(static_cast<Wide<T>>(value) / static_cast<Wide<T>>(ranks))
                           : value;
  };
  T result = scaled(first[size_t(start) * stride]);
  for (int hop = 1; hop < ranks; ++hop) {
    const auto rank = size_t((start + hop) % ranks);
    result = combine(result, scaled(first[rank * stride]), op);
  }
  if constexpr (std::is_integral_v<T>) {
    if (op == ncclAvg) result = static_cast<T>(result / static_cast<T>(ranks));
  }
  return result;
}

template <class T>
std::vector<std::byte> reduce_as(const std::vector<std::byte>& parts, size_t count, int ranks, ncclRedOp_t op,
                                 uint64_t turn) {
  std::vector<T> values(parts.size() / sizeof(T)), sums(count);
  std::memcpy(values.data(), parts.data(), parts.size());
  for (size_t i = 0; i < count; ++i) {
    const auto start = int((turn + i * size_t(ranks) / count) % uint64_t(ranks));
    sums[i] = reduce_element(values.data() + i, count, ranks, start, op);
  }
  std::vector<std::byte> result(count * sizeof(T));
  std::memcpy(result.data(), sums.data(), result.size());
  return result;
}

}  // namespace

size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      throw std::runtime_error("NCCL: data type " + std::to_string(type) + " is not simulated");
  }
}

const char* name_of(ncclDataType_t type) {
  constexpr const char* kNames[] = {"int8",    "uint8",   "int32",   "uint32",   "int64",      "uint64",
                                    "float16", "float32", "float64", "bfloat16", "float8e4m3", "float8e5m2"};
  return kNames[type];
}

const char* name_of(ncclRedOp_t op) {
  constexpr const char* kNames[] = {"sum", "prod", "max", "min", "avg"};
  return kNames[op];
}

std::vector<std::byte> reduce(const std::vector<std::byte>& parts, size_t count, int ranks,
                              ncclDataType_t type, ncclRedOp_t op, uint64_t turn) {
  switch (type) {
    case ncclInt8:
      return reduce_as<int8_t>(parts, count, ranks, op, turn);
    case ncclUint8:
      return reduce_as<uint8_t>(parts, count, ranks, op, turn);
    case ncclInt32:
      return reduce_as<int32_t>(parts, count, ranks, op, turn);
    case ncclUint32:
      return reduce_as<uint32_t>(parts, count, ranks, op, turn);
    case ncclInt64:
      return reduce_as<int64_t>(parts, count, ranks, op, turn);
    case ncclUint64:
      return reduce_as<uint64_t>(parts, count, ranks, op, turn);
    case ncclFloat16:
      return reduce_as<__half>(parts, count, ranks, op, turn);
    case ncclBfloat16:
      return reduce_as<__nv_bfloat16>(parts, count, ranks, op, turn);
    case ncclFloat32:
      return reduce_as<float>(parts, count, ranks, op, turn);
    case ncclFloat64:
      return reduce_as<double>(parts, count, ranks, op, turn);
    default:
      throw std::runtime_error("NCCL: data type " + std::to_string(type) + " is not simulated");
  }
}

}  // namespace simulated_gpu
