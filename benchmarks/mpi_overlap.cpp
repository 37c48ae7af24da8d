// How much of an exchange between MPI ranks hides behind computation: mpirun -n N mpi_overlap [MiB ...].
//
// Each rank starts an exchange of so many bytes, computes about as long as the exchange takes by itself, and waits.  Of the
// shorter one of the two, hidden is the share that did not add to the whole: 1 where communication costs no time, 0 where one
// comes after the other.  The ways take turns:
//   none      as Open MPI does it: data moves while a rank waits
//   calls     computation stops between products to let MPI work
//   thread    progress_in_background()
// Times are medians over rounds of the slowest rank's.
#define OMPI_SKIP_MPICXX
#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>

#include "benchmarks/median.h"
#include "kernels/matmul.h"
#include "parallel/communicator.h"
#include "runtime/cpu_engine.h"

namespace tessera::benchmarks {
namespace {

constexpr int kRounds = 15;

using Start = std::function<Pending<Tensor>()>;

struct Way {
  const char* name;
  Communicator* world;
  bool calls;
};

class Measurement {
 public:
  Measurement(Communicator& world, Stream stream) : world_(world), stream_(stream) {}

  void measure(const char* operation, int64_t bytes, const std::vector<Way>& ways) {
    const int64_t share = bytes / static_cast<int64_t>(sizeof(float)) / world_.size();
    const Tensor part = Tensor::zeros({share}, DType::f32, stream_);
    const Tensor send = Tensor::zeros({share * world_.size()}, DType::f32, stream_),
                 room = Tensor::like(send);
    const std::vector<int64_t> counts(static_cast<size_t>(world_.size()), share);
    const bool gathers = operation == std::string("all_gather");
    const auto start_on = [&](Communicator& world) -> Start {
      return [=, this, &world] {
        return gathers ? world.all_gather(part, room, stream_)
                       : world.all_to_all(send, counts, room, counts, stream_);
      };
    };
    const Start alone = start_on(*ways[0].world);
    const double exchange = median_of([&] { alone().wait(stream_); });
    products_ = std::max<int64_t>(1, std::llround(exchange / median_of([&] { product(); })));

    std::vector<std::vector<double>> exchanges(ways.size()), computations(ways.size()), both(ways.size());
    for (int round = -1; round < kRounds; ++round)  // the first one is to warm up
      for (size_t i = 0; i < ways.size(); ++i) {
        const Way& way = ways[i];
        const Start start = start_on(*way.world);
        const double times[] = {seconds_of([&] { start().wait(stream_); }),
                                seconds_of([&] { compute(false); }), seconds_of([&] {
                                  Pending<Tensor> pending = start();
                                  compute(way.calls);
                                  std::move(pending).wait(stream_);
                                })};
        if (round < 0) continue;
        exchanges[i].push_back(times[0]);
        computations[i].push_back(times[1]);
        both[i].push_back(times[2]);
      }
    if (world_.rank() != 0) return;
    for (size_t i = 0; i < ways.size(); ++i) {
      const double e = median(exchanges[i]), c = median(computations[i]), b = median(both[i]);
      std::printf(
          "%-10s %4lld MiB  %-6s  exchange %8.2f ms  computation %8.2f ms  both %8.2f ms  hidden %5.2f\n",
          operation, static_cast<long long>(bytes >> 20), ways[i].name, 1e3 * e, 1e3 * c, 1e3 * b,
          (e + c - b) / std::min(e, c));
      std::fflush(stdout);
    }
  }

 private:
  /// From a barrier to the end on the slowest rank.
  double seconds_of(const std::function<void()>& action) {
    world_.barrier();
    const int64_t begin = Trace::now_ns();
    action();
    const double mine[] = {1e-9 * static_cast<double>(Trace::now_ns() - begin)};
    const std::vector<double> all = all_gather_values(world_, mine);
    return *std::max_element(all.begin(), all.end());
  }
  double median_of(const std::function<void()>& action) {
    std::vector<double> seconds;
    for (int round = 0; round < kRounds; ++round) seconds.push_back(seconds_of(action));
    return median(seconds);
  }

  void product() { kernels::matmul_forward<Backend::cpu>(left_, right_, result_, kRows, stream_); }
  void compute(bool calls) {
    for (int64_t i = 0; i < products_; ++i) {
      product();
      int unused = 0;
      if (calls) MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &unused, MPI_STATUS_IGNORE);
    }
  }

  static constexpr int64_t kRows[] = {0, 256};

  Communicator& world_;
  const Stream stream_;
  int64_t products_ = 1;
  const Tensor left_ = Tensor::zeros({256, 256}, DType::f32, stream_), right_ = Tensor::like(left_),
               result_ = Tensor::like(left_);
};

void run(const std::vector<int64_t>& mebibytes) {
  CpuEngine engine(1);
  const std::unique_ptr<Communicator> world = mpi_world(), background = mpi_world();
  // Two worlds have a lock each: the thread tests messages only while those of background are under way, and then nobody
  // calls the other one.
  background->progress_in_background();
  Measurement measurement(*world, engine.stream());
  const std::vector<Way> ways{
      {"none", world.get(), false}, {"calls", world.get(), true}, {"thread", background.get(), false}};
  for (const char* operation : {"all_gather", "all_to_all"})
    for (const int64_t size : mebibytes) measurement.measure(operation, size << 20, ways);
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  int level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
  std::vector<int64_t> mebibytes;
  for (int i = 1; i < argc; ++i) mebibytes.push_back(std::atoll(argv[i]));
  if (mebibytes.empty()) mebibytes = {1, 4, 16, 64};
  tessera::benchmarks::run(mebibytes);
  MPI_Finalize();
  return 0;
}
