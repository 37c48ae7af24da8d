// After its first steps a training asks nobody for memory: neither the system for pages nor the heap for large blocks.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "data/synthetic.h"
#include "launch/train.h"
#include "parallel/forwarding.h"
#include "tests/data/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace {

constexpr size_t kLarge = 16 << 10;  ///< bytes
std::atomic<int64_t> large_requests{0};

}  // namespace

// Sanitizers bring their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (bytes > kLarge) ++large_requests;
  if (void* block = std::malloc(bytes)) return block;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* block) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, size_t) noexcept { std::free(block); }
#endif

namespace tessera {
namespace {

// The heap and the stacks of other threads still grow by a page now and then, less than one in two steps; a tensor of these models
// that met fresh memory would bring several in each.
constexpr int64_t kFewFaults = 8;

struct Sample {
  int64_t faults, large;
};

/// A rank whose steps of two micro-batches are seen by the exchange of the first one's gradients: the second is added to them.
class Watched final : public Forwarding {
 public:
  Watched(Communicator& inner, std::vector<Sample>& steps) : Forwarding(inner), steps_(steps) {}

  void about(const std::string& purpose) override {
    if (purpose == "exchange gradients of embedding") {
      rusage usage{};
      ::getrusage(RUSAGE_SELF, &usage);
      steps_.push_back({usage.ru_minflt, large_requests});
    }
    inner_.about(purpose);
  }

 private:
  std::vector<Sample>& steps_;
};

struct Model {
  const char* feed_forward;
  double depth_capacity;
  int64_t large_lists;  ///< of a tape
};

// A sanitizer's malloc keeps freed memory back, and so meets new pages in every step.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMallocIsItsOwn = false;
#else
constexpr bool kMallocIsItsOwn = true;
#endif

// What is allowed: the lists of a tape, which know of nodes and not of rows, double past kLarge so many times in a micro-batch.
// malloc serves them from what the tape before gave back.  The flight recorder's ring is a file that is mapped; until it
// has gone round once it meets a page for the first time now and then, so it is off here.
TEST(SteadyMemory, StepsAskForNothing) {
  constexpr size_t kWarm = 20, kSteps = 40;
  const TemporaryFolder folder;
  write_synthetic_dataset(folder / "data", 5);
  for (const Model& model : {Model{"dense", 1, 1}, {"1t1i", 1, 1}, {"4t4i", 1, 2}, {"4t4i", 0.5, 3}})
    for (const char* compute : {"f32", "bf16"}) {
      SCOPED_TRACE(str(model.feed_forward, " ", model.depth_capacity, " ", compute));
      Config config = tiny_run(folder / "data", model.feed_forward);
      config.model.depth_capacity = {model.depth_capacity};
      config.out = folder / str(model.feed_forward, model.depth_capacity, compute);
      config.compute = compute;
      config.steps = kSteps;
      config.loader.micro_batches = 2;
      config.flight_recorder.records = 0;
      std::vector<Sample> steps;
      run_ranks(1, [&](Communicator& world) {
        Watched watched(world, steps);
        EXPECT_EQ(train(config, watched), 0);
      });
      ASSERT_EQ(steps.size(), kSteps);
      std::string by_step;  // new pages, large requests
      for (size_t i = 1; i < kSteps; ++i)
        by_step += str(" ", steps[i].faults - steps[i - 1].faults, "/", steps[i].large - steps[i - 1].large);
      const int64_t faults = kMallocIsItsOwn ? steps.back().faults - steps[kWarm].faults : 0;
      EXPECT_LE(faults, kFewFaults) << by_step;
      const auto measured = static_cast<int64_t>(kSteps - 1 - kWarm);
      EXPECT_LE(steps.back().large - steps[kWarm].large,
                measured * config.loader.micro_batches * model.large_lists)
          << by_step;
    }
}

}  // namespace
}  // namespace tessera
