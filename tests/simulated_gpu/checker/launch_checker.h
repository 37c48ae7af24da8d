#pragma once
// Listens to one launch and checks its accesses to global, shared, local and parameter memory.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulated_gpu/checker/history.h"
#include "tests/simulated_gpu/checker/launch_reporter.h"
#include "tests/simulated_gpu/checker/live_blocks.h"

namespace simulated_gpu {

class LaunchChecker final : public Observer {
 public:
  /// blocks and history live longer.  shared_cells is memory of the checker that launches hand on to each
  /// other.
  LaunchChecker(LiveBlocks& blocks, History& history, std::optional<ShadowCells>& shared_cells,
                OperationPointer operation);
  ~LaunchChecker() override;

  void launch_begins(const LaunchInfo& launch) override;
  void launch_ends() override;
  void block_begins(const uint32_t index[3]) override;
  uint32_t access(const Access& access) override;
  void asynchronous_copy_done(int warp, int lane, uint64_t shared_address, uint32_t bytes) override;
  void barrier_passes(const ptx::Instruction& instruction, const std::vector<uint32_t>& warps) override;
  void warp_synchronises(int warp, uint32_t mask) override;
  void fences(int warp, uint32_t mask, bool device_scope) override;
  void violates(const ptx::Instruction& instruction, const char* rule, const std::string& text, int warp,
                uint32_t lanes) override;

 private:
  uint32_t access_global(const Access& access);
  uint32_t access_shared(const Access& access);
  uint32_t access_window(const Access& access, uint64_t bytes, const char* window) const;
  /// The live block that an address is in, or null.
  LiveBlock* block_of(const Access& access, uint64_t address);
  void report(const CellCheck& check, const Access& access,
              const std::function<std::string(int lane)>& place) const;
  void report_misaligned(const Access& access, uint32_t lanes) const;

  LiveBlocks& blocks_;
  History& history_;
  std::optional<ShadowCells>& shared_cells_;
  const OperationPointer operation_;
  LaunchInfo launch_{};
  std::optional<LaunchReporter> reporter_;
  std::vector<LiveBlock*> block_of_instruction_;  ///< where its last access went
};

}  // namespace simulated_gpu
