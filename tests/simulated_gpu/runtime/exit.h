#pragma once
// The end of the process: reports that nobody took make its exit code 86.

namespace simulated_gpu {

constexpr int kExitCodeOfReports = 86;

/// Registers the check, once.  Called from the first call that can lead to a report.
void report_at_exit();

}  // namespace simulated_gpu
