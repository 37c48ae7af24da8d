#pragma once
// The trace of a training: when it is recorded, on which clock, and where it is written.

#include "parallel/communicator.h"
#include "runtime/trace.h"

namespace tessera {

class TraceSession {
 public:
  /// Collective.  wanted: starts the trace of stream and compares clocks; else does nothing, like the rest.
  TraceSession(bool wanted, Stream stream, Communicator& world);

  Trace& trace() const { return trace_; }
  /// Collective.  OUT/trace_RANK.json (launch/trace_file.h).  Throws AgreedError when one cannot be written.
  void write(const std::string& out);

 private:
  Trace& trace_;
  Communicator& world_;
  TraceHeader header_;
};

}  // namespace tessera
