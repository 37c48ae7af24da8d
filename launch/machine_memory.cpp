#include "launch/machine_memory.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace tessera {
namespace {

/// The number that follows key in a file of the system; 0 when there is none, or a word such as "max".
double number_after(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return std::atof(line.c_str() + key.size());
  return 0;
}

/// The group of this process in the second version of control groups, from the root.
std::filesystem::path own_group() {
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("0::/")) return line.substr(4);
  return {};
}

}  // namespace

MachineMemory machine_memory() {
  MachineMemory memory{1024 * number_after("/proc/meminfo", "MemAvailable:"), {}};
  // A limit holds for all groups below it.  Inside a container the root is its own group.
  for (std::filesystem::path group = own_group();; group = group.parent_path()) {
    const std::string folder = "/sys/fs/cgroup/" + group.string() + "/";
    const double limit = number_after(folder + "memory.max", "");
    // Pages of files that nobody has used for a while go before anything is refused.
    const double left = limit - number_after(folder + "memory.current", "") +
                        number_after(folder + "memory.stat", "inactive_file ");
    if (limit > 0 && (!memory.container_left || left < *memory.container_left)) memory.container_left = left;
    if (group.empty()) return memory;
  }
}

double resident_bytes() {
  std::ifstream in("/proc/self/statm");
  double all = 0, resident = 0;
  in >> all >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace tessera
