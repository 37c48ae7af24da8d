#pragma once
// Trace ranges of what ranks do together.

#include <optional>

#include "runtime/stream.h"
#include "runtime/trace.h"

namespace tessera {

/// A trace range where there is a trace: meta streams have none.
class TracedRange {
 public:
  TracedRange(Stream stream, const char* name) {
    if (Trace* trace = trace_of(stream)) range_.emplace(*trace, name);
  }

 private:
  std::optional<TraceRange> range_;
};

}  // namespace tessera
