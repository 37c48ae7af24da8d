#include "tests/simulated_gpu/runtime/exit.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

#include "tests/simulated_gpu/control.h"
#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/module.h"
#include "tests/simulated_gpu/runtime/pinned.h"

namespace simulated_gpu {
namespace {

bool print_reports() {
  const std::vector<Report> reports = take_reports();
  for (const Report& report : reports) std::fprintf(stderr, "simulated GPU: %s\n", describe(report).c_str());
  return !reports.empty();
}

void write_profile() {
  if (options().profile.empty()) return;
  profile_unused_modules();
  std::FILE* file = std::fopen(options().profile.c_str(), "w");
  if (!file || std::fputs(profile().to_json().c_str(), file) < 0 || std::fclose(file) != 0) {
    std::fprintf(stderr, "simulated GPU: cannot write the profile to %s\n", options().profile.c_str());
    std::_Exit(kExitCodeOfReports);
  }
}

void at_exit() {
  report_touched_guards();
  write_profile();
  if (!print_reports()) return;
  std::fflush(nullptr);
  std::_Exit(kExitCodeOfReports);
}

}  // namespace

void report_at_exit() {
  static std::once_flag once;
  std::call_once(once, [] {
    // The list must exist before the check is registered, so that it outlives it.
    for (const Report& report : take_reports()) add_report(report);
    std::atexit(at_exit);
  });
}

void stop_process(const std::string& sentence) {
  std::fflush(nullptr);
  print_reports();
  std::fprintf(stderr, "simulated GPU: %s\n", sentence.c_str());
  std::_Exit(kExitCodeOfReports);
}

}  // namespace simulated_gpu
