#pragma once
// What the simulated device found wrong, and where.

#include <cstdint>
#include <string>
#include <vector>

namespace simulated_gpu {

/// memory: outside any live block, freed, misaligned · race: two accesses nobody ordered · uninitialised:
/// read of bytes that nobody wrote · synchronisation: divergent or missing barrier, wrong mask, deadlock ·
/// stream: operations on one buffer that no stream order, event or synchronisation orders · limit: beyond
/// what the device has · usage: a rule of this project broken (legacy stream, pageable asynchronous copy) ·
/// collective: ranks disagree
enum class ReportKind : uint8_t {
  memory,
  race,
  uninitialised,
  synchronisation,
  stream,
  limit,
  usage,
  collective
};

struct Report {
  ReportKind kind;
  std::string text;    ///< one sentence
  std::string kernel;  ///< demangled, or the name of the operation
  std::string source;  ///< "file:line", empty when unknown
  std::string instruction;
  uint64_t count = 1;  ///< how often the same kind came from the same place
};

/// The list of the process.  Thread-safe.
void add_report(Report report);  ///< merges with an earlier one of equal kind, kernel, source and instruction
std::vector<Report> take_reports();  ///< empties the list
std::string describe(const Report& report);

}  // namespace simulated_gpu
