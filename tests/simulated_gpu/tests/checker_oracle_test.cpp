// Random programs of one block, and random operations on streams: the checker reports the first access that
// conflicts, and none before it, as a model does that remembers every access.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "tests/simulated_gpu/tests/launch_driver.h"

namespace simulated_gpu {
namespace {

constexpr int kWarps = 3;
constexpr uint32_t kBytes = 256;

/// Everything that was done to one byte.
struct Past {
  int thread;
  AccessKind kind;
  int barriers, warp_synchronisations;  ///< of the thread, before it
};

class Model {
 public:
  /// True when the access conflicts with one before it.
  bool access(AccessKind kind, int warp, uint32_t mask, uint32_t bytes,
              const std::vector<uint64_t>& addresses) {
    bool has_conflict = false;
    for (int lane = 0; lane < 32; ++lane)
      for (uint32_t i = 0; mask >> lane & 1 && i < bytes; ++i) {
        const Past now{32 * warp + lane, kind, barriers_, synchronisations_[warp]};
        std::vector<Past>& history = bytes_[addresses[static_cast<size_t>(lane)] + i];
        for (const Past& past : history) has_conflict |= is_conflict(past, now);
        history.push_back(now);
      }
    return has_conflict;
  }
  void barrier() { ++barriers_; }
  void warp_synchronises(int warp) { ++synchronisations_[warp]; }

 private:
  static bool is_conflict(const Past& a, const Past& b) {
    if (a.kind == AccessKind::read && b.kind == AccessKind::read) return false;
    if (a.kind == AccessKind::atomic && b.kind == AccessKind::atomic) return false;
    if (a.thread == b.thread || a.barriers < b.barriers) return false;
    return a.thread / 32 != b.thread / 32 || a.warp_synchronisations >= b.warp_synchronisations;
  }

  std::map<uint64_t, std::vector<Past>> bytes_;
  int barriers_ = 0;
  int synchronisations_[kWarps] = {};
};

class RandomProgram {
 public:
  explicit RandomProgram(uint64_t seed) : random_(seed) {}

  /// Steps until the first conflict; returns how many there were, 0 for none within `steps`.
  int run(DrivenLaunch& launch, int steps) {
    Model model;
    for (int warp = 0; warp < kWarps; ++warp)
      for (uint64_t i = 0; i < kBytes / kWarps / 32 + 1; ++i) {
        // Everything is written first, so that only races are found.
        const auto place = [&](int lane) { return (static_cast<uint64_t>(32 * warp + lane) * 4) % kBytes; };
        if (32 * warp * 4 < static_cast<int>(kBytes))
          launch.shared(7, AccessKind::write, warp, kAllLanes, 4, place);
      }
    launch.barrier();
    model.barrier();
    for (int step = 1; step <= steps; ++step) {
      const int warp = pick(kWarps), action = pick(12);
      if (action == 0) {
        launch.barrier();
        model.barrier();
      } else if (action < 4) {
        launch.warp_synchronises(warp);
        model.warp_synchronises(warp);
      } else if (access(launch, model, warp)) {
        return step;
      }
    }
    return 0;
  }

 private:
  int pick(int count) { return static_cast<int>(random_() % static_cast<uint64_t>(count)); }

  bool access(DrivenLaunch& launch, Model& model, int warp) {
    const AccessKind kind =
        std::vector{AccessKind::read, AccessKind::read,  AccessKind::read,
                    AccessKind::read, AccessKind::write, AccessKind::atomic}[static_cast<size_t>(pick(6))];
    const uint32_t bytes =
        kind == AccessKind::atomic ? 4 : std::vector<uint32_t>{1, 2, 4, 8}[static_cast<size_t>(pick(4))];
    const uint32_t masks[] = {kAllLanes, 1u << pick(32), 0xffffu << 16 * pick(2),
                              static_cast<uint32_t>(random_())};
    uint32_t mask = masks[pick(4)];
    if (!mask) mask = 1;
    // Runs, broadcasts, halves that share, strides and chance.
    const uint64_t base = static_cast<uint64_t>(pick(4)) * 64, stride = static_cast<uint64_t>(pick(3));
    const int pattern = pick(5);
    std::vector<uint64_t> addresses(32);
    for (uint64_t lane = 0; lane < 32; ++lane) {
      const uint64_t index = pattern == 0   ? lane
                             : pattern == 1 ? 0
                             : pattern == 2 ? lane % 16
                             : pattern == 3 ? lane * stride
                                            : static_cast<uint64_t>(pick(64));
      addresses[lane] = (base + index * bytes) % kBytes;
    }
    launch.shared(2 * static_cast<int>(kind) + pick(2), kind, warp, mask, bytes,
                  [&](int lane) { return addresses[static_cast<size_t>(lane)]; });
    return model.access(kind, warp, mask, bytes, addresses);
  }

  std::mt19937_64 random_;
};

TEST(CheckerAgainstModel, ReportsTheFirstConflictAndNoneBefore) {
  Arena arena(1 << 16);
  GlobalShadow shadow(arena);
  Timelines timelines;
  const SomeKernel kernel(8);
  int conflicts = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    int step = 0;
    {
      DrivenLaunch launch(shadow.watch_launch(timelines.next(1, "launch kernel")), kernel, 1, 32 * kWarps,
                          kBytes);
      step = RandomProgram(seed).run(launch, 40);
    }
    const auto reports = taken_reports();
    ASSERT_EQ(reports.empty(), step == 0)
        << "seed " << seed << ", step " << step << (reports.empty() ? "" : ": " + reports[0]);
    conflicts += step != 0;
  }
  EXPECT_GT(conflicts, 1000);
}

/// What an operation did to a range of bytes.
struct Touch {
  OperationPointer operation;
  AccessKind kind;
  uint64_t begin, end;

  bool conflicts_with(const Touch& later) const {
    if (kind == AccessKind::read && later.kind == AccessKind::read) return false;
    if (end <= later.begin || later.end <= begin || operation == later.operation) return false;
    return !happens_before(*operation, *later.operation);
  }
};

/// Operations on four streams, some of them after events on others.  Returns how many were played up to the
/// first conflict, 0 when there was none.
int play_operations(GlobalShadow& shadow, uint64_t data, Timelines& timelines, OperationPointer first,
                    uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto pick = [&](uint64_t count) { return random() % count; };
  std::vector<Touch> past;
  std::vector<OperationPointer> operations = {first};
  for (int step = 1; step <= 30; ++step) {
    std::vector<OperationPointer> after = {first};
    for (uint64_t events = pick(4); events > 0; --events)
      after.push_back(operations[pick(operations.size())]);
    operations.push_back(timelines.next(static_cast<int>(1 + pick(4)), "operation", after));
    const uint64_t begin = pick(kBytes), end = begin + 1 + pick(kBytes - begin);
    const Touch now{operations.back(), pick(3) ? AccessKind::read : AccessKind::write, begin, end};
    shadow.touch(data + begin, end - begin, now.kind, now.operation);
    for (const Touch& earlier : past)
      if (earlier.conflicts_with(now)) return step;
    past.push_back(now);
  }
  return 0;
}

TEST(CheckerAgainstModel, FindsEveryUnorderedOperation) {
  Arena arena(1 << 16);
  GlobalShadow shadow(arena);
  Timelines timelines;
  const uint64_t data = arena.allocate(kBytes);
  shadow.allocated(data, kBytes, timelines.next(0, "cudaMalloc"));
  int conflicts = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    std::vector<OperationPointer> everything;
    for (int timeline = 0; timeline <= 4; ++timeline)
      everything.push_back(timelines.next(timeline, "synchronised"));
    const OperationPointer first = timelines.next(0, "cudaMemset", everything);
    shadow.touch(data, kBytes, AccessKind::write, first);
    const int step = play_operations(shadow, data, timelines, first, seed);
    const auto reports = taken_reports();
    ASSERT_EQ(reports.empty(), step == 0)
        << "seed " << seed << ", step " << step << (reports.empty() ? "" : ": " + reports[0]);
    conflicts += step != 0;
  }
  EXPECT_GT(conflicts, 1000);
}

}  // namespace
}  // namespace simulated_gpu
