#pragma once
// How every function of the simulated CUDA runtime ends: its code, the thread's last error, errors that stick
// to a device.

#include <cuda_runtime_api.h>

#include <exception>
#include <mutex>
#include <string>

namespace simulated_gpu {

/// The state of the process is one critical section: entered by every call, left while the scheduler waits
/// for others.
std::mutex& process_mutex();

/// Makes the code the calling thread's last error unless it is success, and returns it.
cudaError_t remember(cudaError_t code);

/// Why calls on the current device fail whatever they ask: an error has ended its context, or there is
/// none.  Else success.
cudaError_t sticky_error();

/// True while the calling thread runs a function given to cudaLaunchHostFunc, which may not call CUDA.
bool in_host_function();
class HostFunctionScope {
 public:
  HostFunctionScope();
  ~HostFunctionScope();
};

/// Ends the process: exit code 86, after the sentence and the reports so far.
[[noreturn]] void stop_process(const std::string& sentence);

/// A call that touches the current device: fails with its sticky error, and inside host functions.
template <class Body>
cudaError_t api_call(Body body) {
  if (in_host_function()) return remember(cudaErrorNotPermitted);
  const std::lock_guard lock(process_mutex());
  try {
    if (const cudaError_t sticky = sticky_error()) return remember(sticky);
    return remember(body());
  } catch (const std::exception& error) {
    stop_process(error.what());
  }
}

/// A call that asks about handles or the process and works on a device in any state.
template <class Body>
cudaError_t query_call(Body body) {
  const std::lock_guard lock(process_mutex());
  try {
    return remember(body());
  } catch (const std::exception& error) {
    stop_process(error.what());
  }
}

}  // namespace simulated_gpu
