#pragma once
// What is known of the bytes of a device's global memory: who wrote them last, who read them since.  Finds
// accesses outside live blocks, reads of bytes nobody wrote, races between blocks and threads of one launch,
// and (stream check) operations that touch the same bytes though nothing orders them.  The operations may
// come in any order that they could be executed in.

#include <cstdint>
#include <memory>

#include "tests/simulated_gpu/checker/operation.h"
#include "tests/simulated_gpu/checker/report.h"
#include "tests/simulated_gpu/device/observer.h"
#include "tests/simulated_gpu/memory/arena.h"

namespace simulated_gpu {

class GlobalShadow {
 public:
  explicit GlobalShadow(const Arena& memory);
  ~GlobalShadow();

  /// A block came to life or ends; the operation is the (stream-ordered) allocation or release.  A release
  /// that not all uses of the block come before is reported.
  void allocated(uint64_t address, uint64_t bytes, OperationPointer operation);
  void released(uint64_t address, uint64_t bytes, OperationPointer operation);

  /// An access by an operation that is not a launch: copy, memset, library call.  Reports and returns false
  /// when it leaves live memory.  bytes may be 0.
  bool touch(uint64_t address, uint64_t bytes, AccessKind kind, const OperationPointer& operation);

  /// Listens to one launch that is this operation: memory, race, uninitialised and stream checks of global,
  /// shared and local memory; violations that the executor reports become reports too.  One launch at a time,
  /// and nothing else while it runs.
  std::unique_ptr<Observer> watch_launch(OperationPointer operation);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace simulated_gpu
