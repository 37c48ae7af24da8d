#include <charconv>
#include <cstdlib>
#include <mutex>
#include <stdexcept>

#include "tests/simulated_gpu/control.h"
#include "tests/simulated_gpu/runtime/device.h"
#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/exit.h"
#include "tests/simulated_gpu/runtime/fault.h"
#include "tests/simulated_gpu/runtime/reset.h"
#include "tests/simulated_gpu/runtime/scheduler.h"
#include "tests/simulated_gpu/runtime/stream.h"

namespace simulated_gpu {
namespace {

constexpr uint64_t kMaximumDevices = 64;

[[noreturn]] void refuse(const std::string& variable, const std::string& expected, const std::string& value) {
  throw std::runtime_error(variable + ": expected " + expected + ", got \"" + value + "\"");
}

uint64_t number(const char* variable, const std::string& text, uint64_t low, uint64_t high) {
  uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || value < low || value > high) {
    refuse(variable, "a whole number from " + std::to_string(low) + " to " + std::to_string(high), text);
  }
  return value;
}

void check_schedule(const std::string& schedule) {
  if (schedule == "random" || schedule == "eager") return;
  if (!schedule.starts_with("starve:"))
    refuse("SIMULATED_GPU_SCHEDULE", "random, eager or starve:K", schedule);
  number("SIMULATED_GPU_SCHEDULE", schedule.substr(7), 0, INT32_MAX);
}

/// Throws std::runtime_error naming the variable of the first value that is none.
void check(const Options& options) {
  check_schedule(options.schedule);
  if (options.lanes != "together" && options.lanes != "independent") {
    refuse("SIMULATED_GPU_LANES", "together or independent", options.lanes);
  }
  device_model(options.device);
  plan_failures(options.fail);
}

Options& mutable_options() {
  static Options& value = *[] {
    report_at_exit();
    try {
      return new Options(options_from_environment());
    } catch (const std::exception& error) {
      stop_process(error.what());
    }
  }();
  return value;
}

/// Devices are made anew, which needs that nothing of the program lives on them.
void replace_devices() {
  for (Device* device : devices_in_use()) {
    device->pool.trim(0, host_clock());
    if (device->memory.used() != device->variable_bytes) {
      throw std::runtime_error(
          "set_options: check, count, device and memory cannot change while memory is live");
    }
  }
  for (Device* device : devices_in_use()) reset_device(*device);
}

}  // namespace

Options options_from_environment() {
  Options options;
  const auto text = [](const char* variable, std::string& value) {
    if (const char* set = std::getenv(variable)) value = set;
  };
  const auto whole = [](const char* variable, uint64_t fallback, uint64_t low, uint64_t high) {
    const char* set = std::getenv(variable);
    return set ? number(variable, set, low, high) : fallback;
  };
  options.check = whole("SIMULATED_GPU_CHECK", 1, 0, 1) == 1;
  options.seed = whole("SIMULATED_GPU_SEED", options.seed, 0, UINT64_MAX);
  options.count = int(whole("SIMULATED_GPU_COUNT", 1, 0, kMaximumDevices));
  options.memory = whole("SIMULATED_GPU_MEMORY", options.memory, 1, uint64_t{1} << 40);
  options.watchdog_seconds = double(whole("SIMULATED_GPU_WATCHDOG", 60, 1, 86400));
  text("SIMULATED_GPU_SCHEDULE", options.schedule);
  text("SIMULATED_GPU_LANES", options.lanes);
  text("SIMULATED_GPU_DEVICE", options.device);
  text("SIMULATED_GPU_FAIL", options.fail);
  text("SIMULATED_GPU_PROFILE", options.profile);
  check(options);
  return options;
}

const Options& options() { return mutable_options(); }

void set_options(const Options& wanted) {
  const std::lock_guard lock(process_mutex());
  synchronise_everything();
  Options& current = mutable_options();
  check(wanted);
  if (wanted.count != current.count || wanted.device != current.device || wanted.memory != current.memory ||
      wanted.check != current.check) {
    replace_devices();
  }
  current = wanted;
  seed_random(wanted.seed);
}

Profile& profile() {
  static Profile& value = *new Profile;
  return value;
}

}  // namespace simulated_gpu
