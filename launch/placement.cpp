#include "launch/placement.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>
#include <thread>

#include "runtime/json.h"

namespace tessera {
RankPlace own_place() {
  RankPlace place;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  place.host = host.data();
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool known =
      sched_getaffinity(0, sizeof set, &set) == 0;  // not on a machine with more than CPU_SETSIZE
  const int most = known ? CPU_SETSIZE : static_cast<int>(std::thread::hardware_concurrency());
  for (int core = 0; core < most; ++core)
    if (!known || CPU_ISSET(core, &set)) place.cores.push_back(core);
  const char* gpus = std::getenv("CUDA_VISIBLE_DEVICES");
  place.visible_gpus = gpus ? gpus : "";
  return place;
}

int Placement::threads() const { return static_cast<int>(std::max<int64_t>(1, cores / local_ranks)); }

std::vector<RankPlace> gather_places(Communicator& world) {
  RankPlace own = own_place();
  std::vector<RankPlace> places;
  for (const std::string& text : all_gather_strings(world, to_json(own).dump()))
    from_json(Json::parse(text), "rank", places.emplace_back());
  return places;
}

Placement placement_of(int rank, const std::vector<RankPlace>& places) {
  const RankPlace& own = places[static_cast<size_t>(rank)];
  Placement placement{.local_ranks = 0};
  std::set<int> cores;
  std::set<std::string> gpus;
  for (int other = 0; other < std::ssize(places); ++other) {
    const RankPlace& place = places[static_cast<size_t>(other)];
    if (place.host != own.host) continue;
    if (other < rank) ++placement.local_rank;
    ++placement.local_ranks;
    cores.insert(place.cores.begin(), place.cores.end());
    gpus.insert(place.visible_gpus);
  }
  placement.cores = std::ssize(cores);
  // Slurm's --gpus-per-task shows every rank its own GPU as the first one.
  const bool own_gpus = std::ssize(gpus) == placement.local_ranks;
  placement.gpu = own_gpus ? 0 : placement.local_rank;
  return placement;
}

}  // namespace tessera
