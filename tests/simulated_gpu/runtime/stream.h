#pragma once
// Streams: queues of operations.  A call only enqueues; the scheduler runs the heads when the host waits or
// asks.

#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulated_gpu/checker/operation.h"
#include "tests/simulated_gpu/runtime/device.h"

namespace simulated_gpu {

/// A point of a stream that others can wait for: what an event records.
struct Marker {
  bool is_reached = false;
  double time = 0;    ///< microseconds of the virtual clock, once reached
  VectorClock clock;  ///< of everything before it
};
using MarkerPointer = std::shared_ptr<Marker>;

enum class TaskKind : uint8_t {
  work,       ///< skipped once an error has stuck to the device
  order,      ///< markers and waits: always run, so that nobody waits forever
  collective  ///< work in which other processes take part: polled
};

struct Task {
  OperationPointer operation;
  TaskKind kind;
  /// Does the work, or returns false when what it waits for has not come yet.
  std::function<bool()> run;
  double issue_time;  ///< of the host's virtual clock
};

}  // namespace simulated_gpu

struct CUstream_st {
  CUstream_st(simulated_gpu::Device& owner, unsigned creation_flags, int stream_priority,
              int creation_ordinal);

  simulated_gpu::Device& device;
  const unsigned flags;
  const int priority;
  const int ordinal;  ///< live streams when it was made, for starve:K; -1: the default stream
  const int timeline;
  bool is_destroyed = false;  ///< its queue still runs out
  simulated_gpu::VectorClock clock;
  std::deque<simulated_gpu::Task> tasks;
  uint64_t issued = 0, completed = 0;
  double time = 0;  ///< virtual clock in microseconds: one per operation

  bool is_blocking() const { return !(flags & cudaStreamNonBlocking); }  ///< ordered with the default stream
};

namespace simulated_gpu {

/// What the host knows to have passed, and its own operations: timeline 0.
const VectorClock& host_clock();
OperationPointer host_operation(const std::string& name);
/// The host has waited for everything that the clock counts, until this time.
void host_reaches(const VectorClock& clock, double time);

/// The live stream of a handle, or nullptr.  Use of the default stream is reported (usage); the per-thread
/// default stream is not simulated and throws.
CUstream_st* stream_of(cudaStream_t handle, const char* caller);
CUstream_st& legacy_stream(Device& device);
CUstream_st& add_stream(Device& device, unsigned flags, int priority);
const std::vector<std::unique_ptr<CUstream_st>>& all_streams();

/// The operation that a call on the stream is, after everything the stream and the host have behind them.
OperationPointer next_operation(CUstream_st& stream, const std::string& name);
/// Appends to the queue; in eager mode it runs at once if it can.
void enqueue(CUstream_st& stream, OperationPointer operation, TaskKind kind, std::function<bool()> run);
/// Work that can run when its turn comes.
void enqueue_work(CUstream_st& stream, OperationPointer operation, std::function<void()> work);

/// A point after everything that is in the stream now.
MarkerPointer mark(CUstream_st& stream, const std::string& name);
/// Later work of the stream comes after the marker.
void wait_for(CUstream_st& stream, const MarkerPointer& marker, const std::string& name);

/// The host waits until the queues are empty.
void synchronise(CUstream_st& stream);
void synchronise_device(const Device& device);
void synchronise_everything();
/// Forgets the streams of a device, whatever is queued.
void remove_streams(Device& device);

}  // namespace simulated_gpu
