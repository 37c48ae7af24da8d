#pragma once
// Says what went wrong in a launch, in one sentence per finding.

#include <cstdint>
#include <string>

#include "tests/simulated_gpu/checker/cell_check.h"
#include "tests/simulated_gpu/checker/history.h"
#include "tests/simulated_gpu/checker/report.h"

namespace simulated_gpu {

/// The end of a sentence about a later access: "\"cudaMemcpyAsync\" wrote; no stream order, event ...".
std::string unordered_text(const Operation& earlier, bool earlier_wrote);

class LaunchReporter {
 public:
  LaunchReporter(const LaunchInfo& launch, const History& history);

  void block_begins(uint32_t index) { block_ = index; }

  /// Lanes whose address is not theirs to use; `where` ends the sentence about the lowest of them.
  void memory(const Access& access, uint32_t lanes, const std::string& where) const;
  /// `place` names what the offsets of the conflict count from: "shared memory", "the block of 64 bytes at
  /// 0x...".
  void conflict(const Access& access, const Conflict& conflict, const std::string& place) const;
  void absence(const Access& access, const Absence& absence, const std::string& place) const;
  void add(ReportKind kind, const ptx::Instruction& instruction, std::string text, uint64_t count = 1) const;
  /// "thread (3,0,0) of block (1,0,0)"
  std::string thread(int warp, int lane, uint32_t block) const;
  std::string thread(int warp, int lane) const { return thread(warp, lane, block_); }

 private:
  std::string earlier_access(const Conflict& conflict) const;

  const LaunchInfo launch_;
  const History& history_;
  const std::string kernel_;
  uint32_t block_ = 0;
};

}  // namespace simulated_gpu
