#pragma once
// What a CPU stream stands for: the threads that run its kernels, the instruction-set level they use, the memory
// that its tensors come from, and the trace of its ranges.  One per rank; ranks in one process have one each.

#include "runtime/allocator.h"
#include "runtime/device.h"
#include "runtime/error.h"
#include "runtime/isa.h"
#include "runtime/thread_pool.h"
#include "runtime/trace.h"

namespace tessera {

struct CpuEngine {
  ThreadPool pool;
  const Isa isa;
  Allocator memory;
  Trace trace;

  explicit CpuEngine(int threads = 1, Isa isa_level = detect_isa()) : pool(threads), isa(isa_level) {}

  Stream stream() { return {{Backend::cpu, 0}, this}; }
};

/// The engine of a cpu stream.  Throws Error for other devices.
inline CpuEngine& engine_of(Stream stream) {
  TESSERA_CHECK(stream.device.backend == Backend::cpu && stream.handle, "stream: expected a cpu stream, got ",
                stream.device);
  return *static_cast<CpuEngine*>(stream.handle);
}

}  // namespace tessera
