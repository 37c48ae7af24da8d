#include "tests/simulated_gpu/runtime/stream.h"

#include <algorithm>
#include <stdexcept>

#include "tests/simulated_gpu/checker/report.h"
#include "tests/simulated_gpu/control.h"
#include "tests/simulated_gpu/runtime/pinned.h"
#include "tests/simulated_gpu/runtime/scheduler.h"

namespace simulated_gpu {
namespace {

struct State {
  std::vector<std::unique_ptr<CUstream_st>> streams;
  VectorClock host;
  double host_time = 0;
  int timelines = 1;  ///< 0 is the host
};

State& state() {
  static auto& value = *new State;
  return value;
}

OperationPointer make_operation(CUstream_st& stream, const std::string& name) {
  stream.clock.join(state().host);
  stream.clock.advance(stream.timeline);
  return std::make_shared<Operation>(Operation{name, stream.timeline, stream.clock});
}

void append(CUstream_st& stream, OperationPointer operation, TaskKind kind, std::function<bool()> run) {
  stream.tasks.push_back({std::move(operation), kind, std::move(run), state().host_time});
  ++stream.issued;
}

MarkerPointer append_marker(CUstream_st& stream, const std::string& name) {
  auto marker = std::make_shared<Marker>();
  OperationPointer operation = make_operation(stream, name);
  marker->clock = operation->clock;
  append(stream, std::move(operation), TaskKind::order, [marker, &stream] {
    marker->is_reached = true;
    marker->time = stream.time;
    return true;
  });
  return marker;
}

void append_wait(CUstream_st& stream, const MarkerPointer& marker, const std::string& name) {
  stream.clock.join(marker->clock);
  append(stream, make_operation(stream, name), TaskKind::order, [marker, &stream] {
    if (!marker->is_reached) return false;
    stream.time = std::max(stream.time, marker->time);
    return true;
  });
}

/// The default stream waits for all blocking streams of its device, and they wait for it.
void order_with_default_stream(CUstream_st& stream) {
  CUstream_st* legacy = stream.device.legacy_stream;
  if (!legacy || !stream.is_blocking()) return;
  if (&stream != legacy) {
    if (legacy->issued > 0)
      append_wait(stream, append_marker(*legacy, "default stream"), "wait for default stream");
    return;
  }
  for (const auto& other : state().streams) {
    if (other.get() == legacy || &other->device != &stream.device || !other->is_blocking()) continue;
    if (other->issued > 0)
      append_wait(stream, append_marker(*other, "blocking stream"), "wait for blocking stream");
  }
}

void drain(const std::function<bool(const CUstream_st&)>& is_meant) {
  const auto is_done = [&](const std::unique_ptr<CUstream_st>& stream) {
    return !is_meant(*stream) || stream->tasks.empty();
  };
  auto& streams = state().streams;
  run_until([&] { return std::all_of(streams.begin(), streams.end(), is_done); });
  for (const auto& stream : streams) {
    if (is_meant(*stream)) host_reaches(stream->clock, stream->time);
  }
  std::erase_if(streams, [](const auto& stream) { return stream->is_destroyed && stream->tasks.empty(); });
}

}  // namespace

const VectorClock& host_clock() { return state().host; }

OperationPointer host_operation(const std::string& name) {
  state().host.advance(0);
  return std::make_shared<Operation>(Operation{name, 0, state().host});
}

void host_reaches(const VectorClock& clock, double time) {
  state().host.join(clock);
  state().host_time = std::max(state().host_time, time);
  release_host_guards(state().host);
  for (Device* device : devices_in_use()) device->pool.trim(device->pool.release_threshold, state().host);
}

CUstream_st* stream_of(cudaStream_t handle, const char* caller) {
  if (handle == nullptr || handle == cudaStreamLegacy) {
    add_report({ReportKind::usage, std::string(caller) + " uses the default stream", caller, "", ""});
    return &legacy_stream(current_device());
  }
  if (handle == cudaStreamPerThread) {
    throw std::runtime_error(std::string(caller) + ": the per-thread default stream is not simulated");
  }
  for (const auto& stream : state().streams) {
    if (stream.get() == handle && !stream->is_destroyed && stream->ordinal >= 0) return handle;
  }
  return nullptr;
}

CUstream_st& legacy_stream(Device& device) {
  if (!device.legacy_stream) {
    state().streams.push_back(std::make_unique<CUstream_st>(device, cudaStreamDefault, 0, -1));
    device.legacy_stream = state().streams.back().get();
  }
  return *device.legacy_stream;
}

CUstream_st& add_stream(Device& device, unsigned flags, int priority) {
  auto& streams = state().streams;
  const auto ordinal = std::count_if(streams.begin(), streams.end(), [](const auto& stream) {
    return !stream->is_destroyed && stream->ordinal >= 0;
  });
  streams.push_back(std::make_unique<CUstream_st>(device, flags, priority, int(ordinal)));
  return *streams.back();
}

const std::vector<std::unique_ptr<CUstream_st>>& all_streams() { return state().streams; }

OperationPointer next_operation(CUstream_st& stream, const std::string& name) {
  order_with_default_stream(stream);
  return make_operation(stream, name);
}

void enqueue(CUstream_st& stream, OperationPointer operation, TaskKind kind, std::function<bool()> run) {
  append(stream, std::move(operation), kind, std::move(run));
  if (options().schedule == "eager") run_all_runnable();
}

void enqueue_work(CUstream_st& stream, OperationPointer operation, std::function<void()> work) {
  enqueue(stream, std::move(operation), TaskKind::work, [work = std::move(work)] {
    work();
    return true;
  });
}

MarkerPointer mark(CUstream_st& stream, const std::string& name) {
  order_with_default_stream(stream);
  MarkerPointer marker = append_marker(stream, name);
  if (options().schedule == "eager") run_all_runnable();
  return marker;
}

void wait_for(CUstream_st& stream, const MarkerPointer& marker, const std::string& name) {
  order_with_default_stream(stream);
  append_wait(stream, marker, name);
  if (options().schedule == "eager") run_all_runnable();
}

void synchronise(CUstream_st& stream) {
  const uint64_t issued = stream.issued;
  run_until([&] { return stream.completed >= issued; });
  host_reaches(stream.clock, stream.time);
}

void synchronise_device(const Device& device) {
  drain([&](const CUstream_st& stream) { return &stream.device == &device; });
}

void synchronise_everything() {
  drain([](const CUstream_st&) { return true; });
}

void remove_streams(Device& device) {
  device.legacy_stream = nullptr;
  std::erase_if(state().streams, [&](const auto& stream) { return &stream->device == &device; });
}

}  // namespace simulated_gpu

CUstream_st::CUstream_st(simulated_gpu::Device& owner, unsigned creation_flags, int stream_priority,
                         int creation_ordinal)
    : device(owner),
      flags(creation_flags),
      priority(stream_priority),
      ordinal(creation_ordinal),
      timeline(simulated_gpu::state().timelines++) {
  clock.join(simulated_gpu::state().host);
}
