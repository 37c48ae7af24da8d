#pragma once
// What this machine and this launch are like, and what to do about what is not right.

#include <ostream>
#include <string>

#include "parallel/communicator.h"

namespace tessera {

enum class DoctorFormat { text, json };

/// Checks MPI, the launcher and PMIx, ranks against machines, cores and GPUs, signals, the processor, memory, HDF5, clocks, and
/// the file system of the folder that runs will be written to (made when missing), collectively; rank 0 writes one line per
/// check, "ok", "warn" or "fail", with what to do.  Returns the exit code, the same on every rank: 0, or 1 when a check
/// failed.
int run_doctor(const std::string& directory, Communicator& communicator, std::ostream& out,
               DoctorFormat format = DoctorFormat::text);

}  // namespace tessera
