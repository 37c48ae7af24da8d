#pragma once
// Splits loops over the threads of a cpu stream.

#include <algorithm>
#include <cstdint>

#include "runtime/cpu_engine.h"

namespace tessera::kernels::cpu {

/// Elements of one task of a pass over memory: some 10 us of work, a hundred times the cost of handing it out.
inline constexpr int64_t kTaskElements = 1 << 14;

/// Rows of one task of such a pass.
inline int64_t task_rows(int64_t cols) {
  return std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, cols));
}

/// Calls body(begin, end) for consecutive ranges of at most grain indices that cover [0, count).  The cuts depend on
/// count and grain alone, never on the number of threads.
template <class Body>
void parallel_for(Stream stream, int64_t count, int64_t grain, const Body& body) {
  engine_of(stream).pool.run((count + grain - 1) / grain, [&](int64_t block, int) {
    body(block * grain, std::min(count, (block + 1) * grain));
  });
}

}  // namespace tessera::kernels::cpu
