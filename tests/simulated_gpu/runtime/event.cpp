#include <algorithm>
#include <memory>
#include <vector>

#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/event.h"
#include "tests/simulated_gpu/runtime/scheduler.h"

namespace simulated_gpu {
namespace {

std::vector<std::unique_ptr<CUevent_st>>& events() {
  static auto& list = *new std::vector<std::unique_ptr<CUevent_st>>;
  return list;
}

CUevent_st* event_of(cudaEvent_t handle) {
  for (const auto& event : events()) {
    if (event.get() == handle) return handle;
  }
  return nullptr;
}

}  // namespace

void remove_events(const Device& device) {
  std::erase_if(events(), [&](const auto& event) { return event->device == &device; });
}

}  // namespace simulated_gpu

using namespace simulated_gpu;

extern "C" {

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return api_call([&] {
    constexpr unsigned kKnown = cudaEventBlockingSync | cudaEventDisableTiming;
    if (!event || (flags & ~kKnown)) return cudaErrorInvalidValue;
    events().push_back(std::make_unique<CUevent_st>(CUevent_st{&current_device(), flags, nullptr}));
    *event = events().back().get();
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return query_call([&] {
    if (!event_of(handle)) return cudaErrorInvalidResourceHandle;
    std::erase_if(events(), [&](const auto& event) { return event.get() == handle; });
    return cudaSuccess;
  });
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
