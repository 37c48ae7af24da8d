#include "launch/dry_run.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "launch/format.h"
#include "launch/machine_memory.h"
#include "launch/placement.h"
#include "parallel/agree.h"
#include "runtime/json.h"

namespace tessera {
namespace {

std::string bytes(int64_t count) { return format_bytes(static_cast<double>(count)); }

/// By rank, bytes that it may take; empty when that is not known.
std::vector<int64_t> rooms(const Config& config, const DryRunOptions& options, int ranks,
                           Communicator& world) {
  const bool gpu = config.device == "cuda";
  if (gpu && options.memory.empty()) return {};
  double own = options.memory.empty() ? machine_memory().room()
                                      : static_cast<double>(parse_bytes("--memory", options.memory));
  const Placement place = placement_of(world.rank(), gather_places(world));
  const int64_t sharing = options.ranks_per_node > 0 ? options.ranks_per_node
                          : world.size() > 1         ? place.local_ranks
                                                     : ranks;
  if (!gpu) own /= static_cast<double>(sharing);
  std::vector<int64_t> all;
  for (const double room : all_gather_values(world, {&own, 1})) all.push_back(static_cast<int64_t>(room));
  all.resize(static_cast<size_t>(ranks), all[0]);
  return all;
}

std::string table(const std::vector<MemoryPlan>& plans, const std::vector<int64_t>& rooms) {
  std::vector<std::vector<std::string>> rows{{"rank", "parameters", "gradients", "moments", "communication",
                                              "activations", "scratch", "peak", "gaps", "saving", "program",
                                              "total", "room", ""}};
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    const MemoryPlan& plan = plans[rank];
    rows.push_back({std::to_string(rank), bytes(plan.parameters), bytes(plan.gradients), bytes(plan.moments),
                    bytes(plan.communication), bytes(plan.activations), bytes(plan.scratch), bytes(plan.peak),
                    bytes(plan.gaps), bytes(plan.saving), bytes(plan.program), bytes(plan.total()),
                    rooms.empty() ? "not known" : bytes(rooms[rank]),
                    rooms.empty()                 ? ""
                    : plan.total() <= rooms[rank] ? "fits"
                                                  : "does not fit"});
  }
  return format_table(rows);
}

Json json_of(std::vector<MemoryPlan> plans, const std::vector<int64_t>& rooms) {
  Json by_rank = Json::array();
  bool fits = true;
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    Json& json = by_rank.emplace_back(to_json(plans[rank]));
    json["total"] = plans[rank].total();
    if (rooms.empty()) continue;
    json["room"] = rooms[rank];
    fits = fits && plans[rank].total() <= rooms[rank];
  }
  Json json{{"ranks", by_rank}};
  if (!rooms.empty()) json["fits"] = fits;
  return json;
}

/// As a shell takes it.
std::string quoted(const std::string& setting) {
  if (setting.find('"') == std::string::npos) return setting;
  const size_t value = setting.find('=') + 1;
  return str(setting.substr(0, value), "'", setting.substr(value), "'");
}

/// How to make it fit, after "needs ... and has room for ...".
std::string advice(const std::optional<MemoryFix>& fix, int ranks) {
  if (!fix)
    return "; nothing that was tried makes it fit (recomputing, bf16, smaller micro-batches, more ranks)";
  std::string text;
  for (const std::string& setting : fix->settings) text += str(text.empty() ? "" : " ", quoted(setting));
  if (fix->ranks != ranks)
    text += str(text.empty() ? "" : " on ", fix->ranks, " ranks, as many to a machine as now,");
  return str("; ", text, " would need ", bytes(fix->need),
             fix->price.empty() ? "" : str(" (", fix->price, ")"));
}

}  // namespace

int64_t parse_bytes(const std::string& what, const std::string& text) {
  constexpr const char* kUnits[] = {"", "B", "KiB", "MiB", "GiB", "TiB", "kB", "MB", "GB", "TB"};
  constexpr double kSizes[] = {1, 1, 0x1p10, 0x1p20, 0x1p30, 0x1p40, 1e3, 1e6, 1e9, 1e12};
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  std::string unit = end;
  unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? unit.size() : unit.find_first_not_of(' '));
  const auto known = std::ranges::find(kUnits, unit);
  TESSERA_CHECK(end != text.c_str() && known != std::end(kUnits) && std::isfinite(number) && number > 0 &&
                    number * kSizes[known - kUnits] < 0x1p62,
                what, ": expected bytes such as 16GiB, 800MB or 123456, got \"", text, "\"");
  return static_cast<int64_t>(number * kSizes[known - kUnits]);
}

void dry_run(const Config& config, const DryRunOptions& options, Communicator& world, std::ostream& out) {
  agree(world, [&] {
    TESSERA_CHECK(options.ranks == 0 || world.size() == 1 || options.ranks == world.size(), "--ranks: is ",
                  options.ranks, ", but ", world.size(), " ranks run this");
    if (!options.memory.empty()) parse_bytes("--memory", options.memory);
  });
  const int ranks = options.ranks > 0 ? static_cast<int>(options.ranks) : world.size();
  const std::vector<int64_t> room = rooms(config, options, ranks, world);
  const int threads = config.threads > 0 ? static_cast<int>(config.threads)
                                         : placement_of(world.rank(), gather_places(world)).threads();
  const PlanOptions plan_options{.scratch = product_scratch(config, threads),
                                 .program = static_cast<int64_t>(resident_bytes()) / config.thread_ranks};
  const std::vector<MemoryPlan> plans = plan_ranks(config, plan_options, ranks, world);
  if (world.rank() == 0)
    out << (options.json ? json_of(plans, room).dump() + "\n" : table(plans, room)) << std::flush;
  if (room.empty()) return;

  const auto lack = [&](size_t rank) { return plans[rank].total() - room[rank]; };
  size_t worst = 0;
  for (size_t rank = 0; rank < plans.size(); ++rank)
    if (lack(rank) > lack(worst)) worst = rank;
  if (lack(worst) <= 0) return;
  const std::optional<MemoryFix> fix =
      cheapest_fix(config, plan_options, ranks, *std::ranges::min_element(room), world);
  throw AgreedError(str("memory: rank ", worst, " of ", ranks, " needs ", bytes(plans[worst].total()),
                        " and has room for ", bytes(room[worst]), advice(fix, ranks)));
}

}  // namespace tessera
