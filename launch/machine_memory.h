#pragma once
// How much memory this machine has left for us.

#include <optional>

namespace tessera {

struct MachineMemory {
  double available = 0;  ///< bytes that programs can still take, as the system estimates
  std::optional<double>
      container_left;  ///< the least that the limits of this process's groups leave of theirs

  double room() const { return container_left && *container_left < available ? *container_left : available; }
};

MachineMemory machine_memory();

/// Bytes of this process that lie in memory.
double resident_bytes();

}  // namespace tessera
