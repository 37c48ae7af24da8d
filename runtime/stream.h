#pragma once
// What can be asked of a stream whatever its device is.

#include "runtime/arena.h"
#include "runtime/device.h"
#include "runtime/trace.h"

namespace tessera {

/// The host waits until the work queued so far is done.  Throws Error with what went wrong in it.
void synchronize(Stream stream);
/// Null on meta, where nothing takes time.
Trace* trace_of(Stream stream);
/// Of the memory that the stream's tensors come from; on meta what it would be (MetaEngine), zeros without an engine.
MemoryStatistics memory_statistics(Stream stream);

}  // namespace tessera
