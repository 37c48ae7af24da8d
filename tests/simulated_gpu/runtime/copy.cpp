// Copies and memsets: checked when they are called, done when their stream comes to them.
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulated_gpu/checker/report.h"
#include "tests/simulated_gpu/control.h"
#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/fault.h"
#include "tests/simulated_gpu/runtime/module.h"
#include "tests/simulated_gpu/runtime/pinned.h"
#include "tests/simulated_gpu/runtime/stream.h"

using namespace simulated_gpu;

namespace {

struct Side {
  Device* device;  ///< null: host memory
  bool is_pinned;
  HostRange range;  ///< on the device as well
};

struct Copy {
  Side to, from;
  std::string name;
};

/// The API function that was called, and whether the host waits for its end.
struct Call {
  const char* name;
  cudaStream_t stream;
  bool is_synchronous;
};

struct Shape {
  size_t to_pitch, from_pitch, width, rows;
};

Side side_of(const void* pointer, size_t width, size_t pitch, size_t rows) {
  Side side{device_of(pointer), false, {reinterpret_cast<uintptr_t>(pointer), width, pitch, rows}};
  side.is_pinned = !side.device && pinned_block_of(pointer);
  return side;
}

bool is_pageable(const Side& side) { return !side.device && !side.is_pinned; }

bool is_live(const Side& side) {
  if (!side.device) return true;
  const auto block = side.device->memory.find(side.range.begin);
  return block && side.range.end() <= block->address + block->bytes;
}

/// The words for reports, or nullptr when the pointers are not of that direction.
const char* direction(const Copy& copy, cudaMemcpyKind kind) {
  const bool to_device = copy.to.device, from_device = copy.from.device;
  const cudaMemcpyKind actual = to_device ? (from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                                          : (from_device ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
  if (kind != cudaMemcpyDefault && kind != actual) return nullptr;
  constexpr const char* kWords[] = {"host to host", "host to device", "device to host", "device to device"};
  return kWords[actual];
}

/// Where the simulator finds a row; nullptr when the checker forbids it.
std::byte* row_of(const Side& side, size_t row, AccessKind kind, const OperationPointer& operation) {
  const uintptr_t address = side.range.begin + row * side.range.pitch;
  if (!side.device) return reinterpret_cast<std::byte*>(address);
  const bool is_allowed = side.device->touch(address, side.range.width, kind, operation);
  return is_allowed ? side.device->memory.at(address) : nullptr;
}

void perform(const Copy& copy, const OperationPointer& operation) {
  std::optional<HostRangeAccess> open_source, open_target;
  if (copy.from.is_pinned) open_source.emplace(copy.from.range);
  if (copy.to.is_pinned) open_target.emplace(copy.to.range);
  for (size_t row = 0; row < copy.to.range.rows; ++row) {
    const std::byte* source = row_of(copy.from, row, AccessKind::read, operation);
    std::byte* target = row_of(copy.to, row, AccessKind::write, operation);
    if (source && target) std::memmove(target, source, copy.to.range.width);
  }
}

/// The rows of pageable memory as they are now.
std::shared_ptr<std::vector<std::byte>> stage(const Side& side) {
  const HostRange& range = side.range;
  auto rows = std::make_shared<std::vector<std::byte>>(range.rows * range.width);
  for (size_t row = 0; row < range.rows; ++row) {
    std::memcpy(rows->data() + row * range.width,
                reinterpret_cast<const void*>(range.begin + row * range.pitch), range.width);
  }
  return rows;
}

void guard(const Side& side, bool device_writes, const OperationPointer& operation) {
  if (side.is_pinned && options().check) guard_host_range(side.range, device_writes, operation);
}

/// The host goes on at once; from pageable memory as NVIDIA's library does it: source read now, target waited
/// for.
void enqueue_copy(Copy copy, CUstream_st& stream) {
  OperationPointer operation = next_operation(stream, copy.name);
  const bool waits = is_pageable(copy.to);
  std::shared_ptr<std::vector<std::byte>> staged;
  if (is_pageable(copy.from)) {
    staged = stage(copy.from);
    HostRange& range = copy.from.range;
    range = {reinterpret_cast<uintptr_t>(staged->data()), range.width, range.width, range.rows};
  }
  guard(copy.from, false, operation);
  guard(copy.to, true, operation);
  enqueue_work(stream, operation, [copy = std::move(copy), operation, staged] { perform(copy, operation); });
  if (waits) synchronise(stream);
}

cudaError_t copy_rows(const Call& call, void* to, const void* from, const Shape& shape, cudaMemcpyKind kind) {
  CUstream_st* stream = stream_of(call.stream, call.name);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  if (shape.width == 0 || shape.rows == 0) return cudaSuccess;
  if (!to || !from) return cudaErrorInvalidValue;
  if (shape.width > shape.to_pitch || shape.width > shape.from_pitch) return cudaErrorInvalidPitchValue;
  Copy copy{side_of(to, shape.width, shape.to_pitch, shape.rows),
            side_of(from, shape.width, shape.from_pitch, shape.rows), call.name};
  const char* words = direction(copy, kind);
  if (!words || !is_live(copy.to) || !is_live(copy.from)) return cudaErrorInvalidValue;
  if (is_failure_due(FaultKind::copy)) return cudaErrorUnknown;
  copy.name += std::string(" ") + words;
  if (!call.is_synchronous && (is_pageable(copy.to) || is_pageable(copy.from))) {
    add_report({ReportKind::usage, copy.name + ": host memory is pageable, so the call is not asynchronous",
                copy.name, "", ""});
  }
  // Between two places on devices even the synchronous call does not wait.
  const bool waits = call.is_synchronous && !(copy.to.device && copy.from.device);
  enqueue_copy(std::move(copy), *stream);
  if (waits) synchronise(*stream);
  return call.is_synchronous ? stream->device.sticky : cudaSuccess;
}

cudaError_t copy_bytes(const Call& call, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return copy_rows(call, to, from, {bytes, bytes, bytes, 1}, kind);
}

/// Where `bytes` bytes of a variable lie on the current device, from the offset on.
cudaError_t find_bytes(const void* symbol, size_t offset, size_t bytes, void*& address) {
  const ptx::Variable* variable = find_variable(symbol, current_device());
  if (!variable) return cudaErrorInvalidSymbol;
  if (offset > variable->bytes || bytes > variable->bytes - offset) return cudaErrorInvalidValue;
  address = reinterpret_cast<void*>(variable->address + offset);
  return cudaSuccess;
}

cudaError_t copy_to_symbol(const Call& call, const void* symbol, const void* from, size_t bytes,
                           size_t offset, cudaMemcpyKind kind) {
  void* to = nullptr;
  const cudaError_t error = find_bytes(symbol, offset, bytes, to);
  return error ? error : copy_bytes(call, to, from, bytes, kind);
}

cudaError_t copy_from_symbol(const Call& call, void* to, const void* symbol, size_t bytes, size_t offset,
                             cudaMemcpyKind kind) {
  void* from = nullptr;
  const cudaError_t error = find_bytes(symbol, offset, bytes, from);
  return error ? error : copy_bytes(call, to, from, bytes, kind);
}

cudaError_t set_bytes(const char* caller, void* to, int value, size_t bytes, cudaStream_t handle) {
  CUstream_st* stream = stream_of(handle, caller);
  if (!stream) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  const Side target = side_of(to, bytes, bytes, 1);
  if (!target.device || !is_live(target)) return cudaErrorInvalidValue;
  if (is_failure_due(FaultKind::copy)) return cudaErrorUnknown;
  OperationPointer operation = next_operation(*stream, caller);
  enqueue_work(*stream, operation, [target, value, bytes, operation] {
    if (std::byte* memory = row_of(target, 0, AccessKind::write, operation))
      std::memset(memory, value, bytes);
  });
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return api_call([&] { return copy_bytes({"cudaMemcpy", nullptr, true}, to, from, bytes, kind); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return api_call([&] { return copy_bytes({"cudaMemcpyAsync", stream, false}, to, from, bytes, kind); });
}

cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                         size_t rows, cudaMemcpyKind kind) {
  return api_call([&] {
    return copy_rows({"cudaMemcpy2D", nullptr, true}, to, from, {to_pitch, from_pitch, width, rows}, kind);
  });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t rows, cudaMemcpyKind kind, cudaStream_t stream) {
  return api_call([&] {
    return copy_rows({"cudaMemcpy2DAsync", stream, false}, to, from, {to_pitch, from_pitch, width, rows},
                     kind);
  });
}

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, size_t bytes, size_t offset,
                               cudaMemcpyKind kind) {
  return api_call([&] {
    return copy_to_symbol({"cudaMemcpyToSymbol", nullptr, true}, symbol, from, bytes, offset, kind);
  });
}

cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, size_t bytes, size_t offset,
                                    cudaMemcpyKind kind, cudaStream_t stream) {
  return api_call([&] {
    return copy_to_symbol({"cudaMemcpyToSymbolAsync", stream, false}, symbol, from, bytes, offset, kind);
  });
}

cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, size_t bytes, size_t offset,
                                 cudaMemcpyKind kind) {
  return api_call([&] {
    return copy_from_symbol({"cudaMemcpyFromSymbol", nullptr, true}, to, symbol, bytes, offset, kind);
  });
}

cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, size_t bytes, size_t offset,
                                      cudaMemcpyKind kind, cudaStream_t stream) {
  return api_call([&] {
    return copy_from_symbol({"cudaMemcpyFromSymbolAsync", stream, false}, to, symbol, bytes, offset, kind);
  });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return api_call([&] { return set_bytes("cudaMemset", to, value, bytes, nullptr); });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return api_call([&] { return set_bytes("cudaMemsetAsync", to, value, bytes, stream); });
}

}  // extern "C"
