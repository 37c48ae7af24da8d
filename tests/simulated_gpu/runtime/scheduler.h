#pragma once
// Which stream's head runs next, while the host waits or asks.

#include <cstdint>
#include <functional>
#include <string>

namespace simulated_gpu {

/// Runs tasks until the condition holds.  When nothing can run it polls tasks that wait for other processes,
/// and stops the process when there are none or when the watchdog's time is over, naming the head of every
/// stream.
void run_until(const std::function<bool()>& condition);
/// As run_until, for a condition that other processes bring about: waits on when there is nothing to run.
void wait_for_processes(const std::function<bool()>& condition);
/// Runs at most one task; false when none could.
bool run_one();
/// Runs tasks until none can.
void run_all_runnable();

/// The process's random choices, all from Options::seed.
uint64_t random_bits();
void seed_random(uint64_t seed);

/// One line per stream: its queue's length and head.
std::string describe_streams();

}  // namespace simulated_gpu
