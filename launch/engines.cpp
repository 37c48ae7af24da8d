#include "launch/engines.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "launch/process.h"
#include "parallel/agree.h"
#include "runtime/log.h"

namespace tessera {
namespace {

int environment_number(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

}  // namespace

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
  const int64_t local_ranks = std::max(1, environment_number("OMPI_COMM_WORLD_LOCAL_SIZE", world.size()));
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const auto threads =
      static_cast<int>(options.threads > 0 ? options.threads : std::max<int64_t>(1, cores / local_ranks));
  double mine[] = {0};
  agree(world, [&] { mine[0] = static_cast<double>(parse_isa(options.isa)); });
  const std::vector<double> levels = all_gather_values(world, mine);
  host_.emplace(threads, static_cast<Isa>(static_cast<int>(*std::min_element(levels.begin(), levels.end()))));
  if (options.device == "cpu") return;

  agree(world, [&] {
    TESSERA_CHECK(under_mpi() || world.size() == 1,
                  "thread_ranks: ranks on GPUs are processes: use mpirun -n ", world.size());
    const int devices = cuda_devices().count;
    const int index = environment_number("OMPI_COMM_WORLD_LOCAL_RANK", 0);
    TESSERA_CHECK(index < devices, "device: ", local_ranks,
                  " ranks on this machine need as many GPUs, it has ", devices);
    cuda_.emplace(index);
  });
  if (world.size() > 1) nccl_ = nccl_communicator(world, cuda_->stream().device);
}

}  // namespace tessera
