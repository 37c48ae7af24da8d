#pragma once
// Splits loops over the threads of a cpu stream.

#include <algorithm>
#include <cstdint>

#include "runtime/cpu_engine.h"

namespace tessera::kernels::cpu {

/// Calls body(begin, end) for consecutive ranges of at most grain indices that cover [0, count).  The cuts depend on
/// count and grain alone, never on the number of threads.
template <class Body>
void parallel_for(Stream stream, int64_t count, int64_t grain, const Body& body) {
  engine_of(stream).pool.run((count + grain - 1) / grain, [&](int64_t block, int) {
    body(block * grain, std::min(count, (block + 1) * grain));
  });
}

}  // namespace tessera::kernels::cpu
