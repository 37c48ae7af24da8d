#include "tests/simulated_gpu/runtime/scheduler.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/simulated_gpu/control.h"
#include "tests/simulated_gpu/runtime/error.h"
#include "tests/simulated_gpu/runtime/stream.h"

namespace simulated_gpu {
namespace {

std::mt19937_64& generator() {
  static auto& state = *new std::mt19937_64(options().seed);
  return state;
}

/// Streams with work, in the order in which they are tried.
std::vector<CUstream_st*> candidates() {
  std::vector<CUstream_st*> streams;
  for (const auto& stream : all_streams()) {
    if (!stream->tasks.empty()) streams.push_back(stream.get());
  }
  const std::string& schedule = options().schedule;
  if (schedule == "eager") return streams;
  std::shuffle(streams.begin(), streams.end(), generator());
  if (schedule.starts_with("starve:")) {
    const int starved = std::stoi(schedule.substr(7));
    std::stable_partition(streams.begin(), streams.end(),
                          [&](const CUstream_st* stream) { return stream->ordinal != starved; });
  }
  return streams;
}

bool run_head(CUstream_st& stream) {
  Task& head = stream.tasks.front();
  const bool is_skipped = head.kind != TaskKind::order && stream.device.sticky != cudaSuccess;
  stream.time = std::max(stream.time, head.issue_time);
  if (!is_skipped && !head.run()) return false;
  if (head.kind != TaskKind::order) stream.time += 1;
  stream.tasks.pop_front();
  ++stream.completed;
  return true;
}

bool waits_for_peers() {
  return std::any_of(all_streams().begin(), all_streams().end(), [](const auto& stream) {
    return !stream->tasks.empty() && stream->tasks.front().kind == TaskKind::collective;
  });
}

/// Lets other threads of the process enqueue, and other processes run.
void pause_polling() {
  process_mutex().unlock();
  std::this_thread::sleep_for(std::chrono::microseconds(20));
  process_mutex().lock();
}

/// Runs tasks until the condition holds; while none can run, polls as long as somebody may bring it about.
void wait(const std::function<bool()>& condition, const std::function<bool()>& may_still_come) {
  using Clock = std::chrono::steady_clock;
  auto last_progress = Clock::now();
  while (!condition()) {
    if (run_one()) {
      last_progress = Clock::now();
      continue;
    }
    if (!may_still_come())
      stop_process("the host waits for work that nothing can start:\n" + describe_streams());
    if (Clock::now() - last_progress > std::chrono::duration<double>(options().watchdog_seconds)) {
      stop_process("no progress for " + std::to_string(int(options().watchdog_seconds)) +
                   " s: another process does not take part\n" + describe_streams());
    }
    pause_polling();
  }
}

}  // namespace

uint64_t random_bits() { return generator()(); }
void seed_random(uint64_t seed) { generator().seed(seed); }

bool run_one() {
  for (CUstream_st* stream : candidates()) {
    if (run_head(*stream)) return true;
  }
  return false;
}

void run_all_runnable() {
  while (run_one()) {
  }
}

void run_until(const std::function<bool()>& condition) { wait(condition, waits_for_peers); }

void wait_for_processes(const std::function<bool()>& condition) {
  wait(condition, [] { return true; });
}

std::string describe_streams() {
  std::ostringstream text;
  for (const auto& stream : all_streams()) {
    text << "  device " << stream->device.index << ", stream ";
    stream->ordinal < 0 ? text << "default" : text << stream->ordinal;
    text << ": " << stream->tasks.size() << " queued";
    if (!stream->tasks.empty()) text << ", head " << stream->tasks.front().operation->name;
    text << '\n';
  }
  return text.str();
}

}  // namespace simulated_gpu
