#include "launch/engines.h"

#include <algorithm>

#include "launch/placement.h"
#include "launch/process.h"
#include "parallel/agree.h"
#include "runtime/log.h"

namespace tessera {

bool device_usable(Communicator& world, const std::string& device) {
  if (device == "cpu") return true;
  const std::vector<std::string> problems = all_gather_strings(world, cuda_devices().problem);
  const auto first = std::ranges::find_if(problems, [](const std::string& text) { return !text.empty(); });
  if (first == problems.end()) return true;
  set_log_prefix("");
  if (world.rank() == 0) log_line("error: device cuda cannot be used: " + *first);
  return false;
}

Engines::Engines(Communicator& world, const EngineOptions& options) : world_(world) {
  const Placement place = placement_of(world.rank(), gather_places(world));
  const int threads = options.threads > 0 ? static_cast<int>(options.threads) : place.threads();
  double mine[] = {0};
  agree(world, [&] { mine[0] = static_cast<double>(parse_isa(options.isa)); });
  const std::vector<double> levels = all_gather_values(world, mine);
  host_.emplace(threads, static_cast<Isa>(static_cast<int>(*std::min_element(levels.begin(), levels.end()))));
  if (options.device == "cpu") return;

  agree(world, [&] {
    TESSERA_CHECK(under_mpi() || world.size() == 1,
                  "thread_ranks: ranks on GPUs are processes: use mpirun -n ", world.size());
    const int devices = cuda_devices().count;
    TESSERA_CHECK(place.gpu < devices, "device: ", place.local_ranks,
                  " ranks on this machine need as many GPUs, it has ", devices);
    cuda_.emplace(place.gpu);
  });
  if (world.size() > 1) nccl_ = nccl_communicator(world, cuda_->stream().device);
}

}  // namespace tessera
