#pragma once
// Page-locked host memory, and the watch over it while copies are under way.
//
// From the call of an asynchronous copy until the host has waited for it, pages that the copy reads are
// write-protected and pages that it writes are inaccessible.  Host code that comes too early faults; the page
// is then opened, the program goes on, and a report (stream) names the copy.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "tests/simulated_gpu/checker/operation.h"

namespace simulated_gpu {

struct PinnedBlock {
  uintptr_t address;
  size_t bytes;
  unsigned flags;      ///< of cudaHostAlloc or cudaHostRegister
  bool is_registered;  ///< the program's own memory, from cudaHostRegister
};

std::optional<PinnedBlock> pinned_block_of(const void* address);

/// Rows of host bytes; one row for a plain copy.
struct HostRange {
  uintptr_t begin;
  size_t width, pitch, rows;

  uintptr_t end() const { return begin + (rows - 1) * pitch + width; }
  bool contains(uintptr_t address) const {
    return address >= begin && address < end() && (address - begin) % pitch < width;
  }
};

/// An operation on pinned memory was queued.  Reports (stream) an earlier one on the same bytes that nothing
/// orders before it, when one of them writes.
void guard_host_range(const HostRange& range, bool device_writes, OperationPointer operation);
/// Opens what was only guarded for operations that the host has waited for, and reports accesses that came
/// too early.
void release_host_guards(const VectorClock& host);
/// Guards need it, and it tells host code that touches device memory what it did before that ends the
/// process.
void install_fault_handler();
/// Reports accesses that came too early to what is still guarded, at the end of the process.
void report_touched_guards();
/// For the time of its life the simulator itself may touch the range, which is pinned.
class HostRangeAccess {
 public:
  explicit HostRangeAccess(const HostRange& range);
  ~HostRangeAccess();
  HostRangeAccess(const HostRangeAccess&) = delete;
  HostRangeAccess& operator=(const HostRangeAccess&) = delete;

 private:
  HostRange range_;
};

}  // namespace simulated_gpu
