// How a training step scales over ranks, what it exposes and what it costs: mpirun -n N scaling FOLDER
//
// Speed: the same step, its micro-batches of the same size, in four ways that take turns:
//   one rank      on one thread, the other ranks asleep
//   threads       on one rank with N threads, the other ranks asleep
//   independent   by every rank for itself at the same time, nothing exchanged: what the machine gives N processes
//   together      by N ranks, each with its share of the micro-batches
// Exposed communication: shares of the step by the trace of the N ranks.  Costs: bytes sent and memory of layouts beside their
// closed forms, in this world and with ranks as threads; the exit status is 1 when one is not exact.
//
// FOLDER, which all ranks see, gets scaling.jsonl, and by case the traces and a page that shows them.
#define OMPI_SKIP_MPICXX
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <thread>

#include "benchmarks/layout_costs.h"
#include "benchmarks/median.h"
#include "launch/append_file.h"
#include "launch/format.h"
#include "launch/trace_file.h"
#include "launch/trace_page.h"
#include "launch/trace_session.h"
#include "runtime/replace_file.h"

namespace tessera::benchmarks {
namespace {

constexpr int kTurns = 9, kTracedSteps = 5;
constexpr int64_t kLength = 512;
constexpr const char* kModel = "cpu_small_4t4i";  // of the layouts with ranks as threads

using Table = std::vector<std::vector<std::string>>;

struct Case {
  std::string name;
  StepSetting setting;
};

std::vector<Case> cases(int ranks) {
  const std::string micro_batches = str("loader.micro_batches=", 2 * ranks);
  std::vector<Case> cases{
      {"dense", {"cpu_small_dense", kLength, DType::f32, 1, {micro_batches}}},
      {"dense_bf16", {"cpu_small_dense", kLength, DType::bf16, 1, {micro_batches}}},
      {"4t4i", {"cpu_small_4t4i", kLength, DType::f32, 1, {micro_batches}}},
  };
  if (4 % ranks == 0)
    cases.push_back(
        {"4t4i_expert_parallel",
         {"cpu_small_4t4i", kLength, DType::f32, 1, {micro_batches, str("mesh.expert=", ranks)}}});
  return cases;
}

/// Until every rank is here, without keeping a core from those that still work: one that wakes more often pushes their threads from core
/// to core.
void sleep_until_all() {
  MPI_Request request;
  MPI_Ibarrier(MPI_COMM_WORLD, &request);
  for (int here = 0; MPI_Test(&request, &here, MPI_STATUS_IGNORE), !here;)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

struct Ratio {
  double median = 0, least = 0, most = 0;
};
Ratio ratio_of(std::vector<double> values) {
  return {median(values), std::ranges::min(values), std::ranges::max(values)};
}
Json json_of(const Ratio& ratio) {
  return {{"median", ratio.median}, {"least", ratio.least}, {"most", ratio.most}};
}
std::string text_of(const Ratio& ratio) {
  return str(format_fixed(ratio.median, 2), " (", format_fixed(ratio.least, 2), "-",
             format_fixed(ratio.most, 2), ")");
}

/// Throughput over that of one rank.
struct Speed {
  Ratio threads, independent, together, together_over_independent;
  double seconds_of_one = 0;
};

class Scaling {
 public:
  Scaling(Communicator& world, const std::string& folder) : world_(world), folder_(folder) {
    if (world.rank() > 0) return;
    const std::string path = folder + "/scaling.jsonl";
    std::filesystem::remove(path);
    lines_ = std::make_unique<AppendFile>(path);
  }

  /// Returns whether all bytes are those of the closed forms.
  bool run() {
    for (const Case& one : cases(world_.size())) {
      say("speed and trace: " + one.name);
      measure_case(one);
    }
    measure_layouts();
    if (world_.rank() == 0) print();
    return exact_;
  }

 private:
  void say(const std::string& what) const {
    if (world_.rank() == 0) std::cerr << what << std::endl;
  }
  void keep(const Json& line) {
    if (lines_) lines_->append(line.dump() + "\n");
  }

  /// Seconds of the slowest rank that takes part.
  double seconds_of(TrainingStep& step, bool all_ranks) const {
    world_.barrier();
    const int64_t begin = Trace::now_ns();
    if (all_ranks || world_.rank() == 0) step.run();
    const double mine[] = {1e-9 * static_cast<double>(Trace::now_ns() - begin)};
    sleep_until_all();
    return std::ranges::max(all_gather_values(world_, mine));
  }

  void measure_case(const Case& one) {
    const std::unique_ptr<Communicator> alone = solo_communicator();
    StepSetting by_itself = one.setting, threaded = one.setting;
    by_itself.settings.push_back("mesh.expert=1");
    threaded = by_itself;
    threaded.threads = world_.size();
    TrainingStep single(by_itself, *alone), threads(threaded, *alone), together(one.setting, world_);

    std::vector<double> ones, by_threads, independents, togethers, efficiencies;
    for (int turn = 0; turn < kTurns; ++turn) {
      double of_one = 0, of_threads = 0, of_independent = 0, of_together = 0;
      for (int way = 0; way < 4; ++way) switch ((turn + way) % 4) {  // nobody always comes first
          case 0:
            of_one = seconds_of(single, false);
            break;
          case 1:
            of_threads = seconds_of(threads, false);
            break;
          case 2:
            of_independent = seconds_of(single, true);
            break;
          case 3:
            of_together = seconds_of(together, true);
            break;
        }
      ones.push_back(of_one);
      by_threads.push_back(of_one / of_threads);
      independents.push_back(world_.size() * of_one / of_independent);
      togethers.push_back(of_one / of_together);
      efficiencies.push_back(togethers.back() / independents.back());
    }
    const Speed speed{ratio_of(by_threads), ratio_of(independents), ratio_of(togethers),
                      ratio_of(efficiencies), median(ones)};
    keep({{"kind", "speed"},
          {"case", one.name},
          {"ranks", world_.size()},
          {"threads", json_of(speed.threads)},
          {"independent", json_of(speed.independent)},
          {"together", json_of(speed.together)},
          {"together_over_independent", json_of(speed.together_over_independent)},
          {"seconds_of_one", speed.seconds_of_one}});
    speeds_.push_back({one.name, text_of(speed.threads), text_of(speed.independent), text_of(speed.together),
                       text_of(speed.together_over_independent), format_fixed(speed.seconds_of_one, 3)});
    trace(one, together);
  }

  void trace(const Case& one, TrainingStep& step) {
    const std::string folder = folder_ + "/" + one.name;
    std::filesystem::create_directories(folder);
    TraceSession session(true, step.stream(), world_);
    for (int i = 0; i < kTracedSteps; ++i) {
      const TraceRange in_step(step.trace(), "step", Track::compute, i);
      step.run();
    }
    session.write(folder);
    if (world_.rank() != 0) return;
    TraceSummarizer summarizer(folder);
    for (int rank = 0; rank < world_.size(); ++rank) summarizer.add(read_trace(trace_path(folder, rank)));
    const TraceSummary summary = summarizer.summary(0, kTracedSteps - 1);
    replace_file(folder + "/time.html", page_of(summary));
    keep({{"kind", "time"}, {"case", one.name}, {"summary", json_of(summary)}});
    std::vector<std::string> row{one.name};
    const TimeSplit& split = summary.overall.split;
    const auto share = [&](int64_t ns) {
      return format_fixed(100 * static_cast<double>(ns) / static_cast<double>(split.total()), 1);
    };
    int64_t exposed = 0;
    for (Part part : kParts) {
      row.push_back(share(split.of(part)));
      if (is_communication(part)) exposed += split.of(part);
    }
    row.push_back(share(exposed));
    times_.push_back(row);
  }

  void add_layout(const std::string& model, const std::string& where, const LayoutCosts& costs) {
    const Layout& layout = costs.layout;
    exact_ = exact_ && costs.exact;
    const auto kinds = [](const StepTraffic& traffic) {
      return Json{{"gather", traffic.gather},
                  {"gradients", traffic.gradients},
                  {"replicas", traffic.replicas},
                  {"rows", traffic.rows}};
    };
    std::string name = str(model, ", ", layout.ranks, " ranks");
    if (layout.mesh.replicate > 1) name += str(", ", layout.mesh.replicate, " replicas");
    if (layout.mesh.expert > 1) name += str(", experts over ", layout.mesh.expert);
    if (layout.sharding.compute == DType::bf16) name += ", bf16";
    if (layout.sharding.reshard_after_forward) name += ", resharded";
    if (layout.recompute_blocks) name += ", recomputed";
    keep({{"kind", "layout"},
          {"layout", name},
          {"ranks_are", where},
          {"exact", costs.exact},
          {"sent", kinds(costs.traffic)},
          {"closed_form", kinds(costs.expected_traffic)},
          {"sent_otherwise", costs.other_traffic},
          {"state", costs.state},
          {"state_closed_form", costs.expected_state},
          {"live", costs.live},
          {"peak", costs.peak}});
    const auto bytes = [](int64_t count) { return format_bytes(static_cast<double>(count)); };
    layouts_.push_back(
        {name, where, bytes(costs.traffic.gather), bytes(costs.traffic.gradients),
         bytes(costs.traffic.replicas), bytes(costs.traffic.rows), bytes(costs.other_traffic),
         bytes(costs.state), costs.exact ? "equal" : "NOT EQUAL",
         str("+", format_percent(static_cast<double>(costs.live) / static_cast<double>(costs.state) - 1)),
         bytes(costs.peak)});
  }

  void measure_layouts() {
    const auto setting = [](std::vector<std::string> settings) {
      settings.insert(settings.begin(), "loader.micro_batches=8");
      return StepSetting{kModel, kLength, DType::f32, 1, std::move(settings)};
    };
    for (const Case& one : cases(world_.size())) {
      say("bytes and memory: " + one.name);
      add_layout(one.setting.config, "processes", measure_layout(one.setting, world_));
    }
    if (world_.rank() == 0) {
      struct Threads {
        int ranks;
        std::vector<std::string> settings;
      };
      for (const Threads& of : std::vector<Threads>{{2, {"reshard_after_forward=true"}},
                                                    {3, {}},
                                                    {4, {}},
                                                    {4, {"mesh.replicate=2"}},
                                                    {4, {"mesh.expert=2"}},
                                                    {4, {"mesh.expert=4", "recompute=[\"blocks\"]"}},
                                                    {8, {"mesh.replicate=2", "mesh.expert=2"}},
                                                    {8, {"mesh.expert=4", "compute=bf16"}}}) {
        say(str("bytes and memory: ", of.ranks, " ranks as threads"));
        LayoutCosts costs;
        run_ranks(of.ranks, [&](Communicator& world) {
          const LayoutCosts seen = measure_layout(setting(of.settings), world);
          if (world.rank() == 0) costs = seen;
        });
        add_layout(kModel, "threads", costs);
      }
    }
    sleep_until_all();
    const double mine[] = {exact_ ? 1.0 : 0.0};
    exact_ = std::ranges::min(all_gather_values(world_, mine)) > 0;
  }

  void print() const {
    const std::string n = str(world_.size());
    Table speeds{{"", "1 rank, " + n + " threads", n + " independent ranks", n + " ranks together",
                  "together / independent", "seconds of one"}};
    speeds.insert(speeds.end(), speeds_.begin(), speeds_.end());
    std::cout << "throughput over that of one rank with one thread: median (least-most) of " << kTurns
              << " turns\n"
              << format_table(speeds);
    Table times{{""}};
    for (Part part : kParts) times[0].push_back(name_of(part));
    times[0].push_back("all exposed");
    times.insert(times.end(), times_.begin(), times_.end());
    std::cout << "\nshare of the step of " << n
              << " ranks, %; from gather to other it is exposed communication\n"
              << format_table(times);
    Table layouts{{"", "ranks are", "gather", "gradients", "replicas", "rows", "norms etc.", "state",
                   "closed forms", "live", "peak"}};
    layouts.insert(layouts.end(), layouts_.begin(), layouts_.end());
    std::cout
        << "\nbytes that a rank sends in a step by kind, and memory per rank: state, all that lives between "
           "steps over the state, most in a step\n"
        << format_table(layouts) << "\nin full: " << lines_->path() << "\n";
  }

  Communicator& world_;
  const std::string folder_;
  std::unique_ptr<AppendFile> lines_;  ///< rank 0
  Table speeds_, times_, layouts_;
  bool exact_ = true;
};

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  using namespace tessera;
  if (argc != 2) {
    std::cerr << "usage: mpirun -n RANKS scaling FOLDER\n";
    return 2;
  }
  int level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
  bool exact = false;
  try {
    std::filesystem::create_directories(argv[1]);
    const std::unique_ptr<Communicator> world = mpi_world();
    world->progress_in_background();
    exact = benchmarks::Scaling(*world, argv[1]).run();
  } catch (const std::exception& error) {
    std::cerr << "scaling: " << error.what() << std::endl;
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  MPI_Finalize();
  return exact ? 0 : 1;
}
