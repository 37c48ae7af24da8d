#include "tests/simulated_gpu/runtime/event.h"

#include <memory>
#include <unordered_map>
#include <utility>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/scheduler.h"

namespace simulated_gpu {
namespace {

std::unordered_map<cudaEvent_t, std::unique_ptr<CUevent_st>>& events() {
  static auto& live = *new std::unordered_map<cudaEvent_t, std::unique_ptr<CUevent_st>>;
  return live;
}

CUevent_st* event_of(cudaEvent_t handle) { return events().contains(handle) ? handle : nullptr; }

}  // namespace

void remove_events(const Device& device) {
  std::erase_if(events(), [&](const auto& entry) { return entry.second->device == &device; });
}

}  // namespace simulated_gpu

using namespace simulated_gpu;

extern "C" {

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return api_call([&] {
    constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming;
    if (!event || (flags & ~kKnown)) return cudaErrorInvalidValue;
    auto made = std::make_unique<CUevent_st>(CUevent_st{&current_device(), flags, nullptr});
    *event = made.get();
    events()[*event] = std::move(made);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return query_call([&] { return events().erase(handle) ? cudaSuccess : cudaErrorInvalidResourceHandle; });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream_handle, unsigned flags) {
  return api_call([&] {
    CUevent_st* event = event_of(handle);
    CUstream_st* stream = stream_of(stream_handle, "cudaEventRecord");
    if (!event || !stream || event->device != &stream->device) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventRecordDefault) return cudaErrorInvalidValue;
    event->recorded = mark(*stream, "cudaEventRecord");
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream_handle, cudaEvent_t handle, unsigned flags) {
  return api_call([&] {
    CUevent_st* event = event_of(handle);
    CUstream_st* stream = stream_of(stream_handle, "cudaStreamWaitEvent");
    if (!event || !stream) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventWaitDefault) return cudaErrorInvalidValue;
    // The wait is for the record that is the latest now; an event never recorded holds nobody up.
    if (event->recorded) wait_for(*stream, event->recorded, "cudaStreamWaitEvent");
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return api_call([&] {
    CUevent_st* event = event_of(handle);
    if (!event) return cudaErrorInvalidResourceHandle;
    if (!event->recorded) return cudaSuccess;
    if (!event->recorded->is_reached) run_one();
    if (event->device->sticky) return event->device->sticky;
    if (!event->recorded->is_reached) return cudaErrorNotReady;
    host_reaches(event->recorded->clock, event->recorded->time);
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return api_call([&] {
    CUevent_st* event = event_of(handle);
    if (!event) return cudaErrorInvalidResourceHandle;
    if (!event->recorded) return cudaSuccess;
    const MarkerPointer marker = event->recorded;
    run_until([&] { return marker->is_reached; });
    host_reaches(marker->clock, marker->time);
    return event->device->sticky;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start_handle, cudaEvent_t end_handle) {
  return api_call([&] {
    if (!milliseconds) return cudaErrorInvalidValue;
    CUevent_st *start = event_of(start_handle), *end = event_of(end_handle);
    if (!start || !end || !start->recorded || !end->recorded) return cudaErrorInvalidResourceHandle;
    if (start->device != end->device || ((start->flags | end->flags) & cudaEventDisableTiming)) {
      return cudaErrorInvalidResourceHandle;
    }
    if (!start->recorded->is_reached || !end->recorded->is_reached) return cudaErrorNotReady;
    *milliseconds = float((end->recorded->time - start->recorded->time) * 1e-3);
    return cudaSuccess;
  });
}

}  // extern "C"
