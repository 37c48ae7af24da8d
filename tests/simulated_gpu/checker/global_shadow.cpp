#include "tests/simulated_gpu/checker/global_shadow.h"

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tests/simulated_gpu/checker/cell_check.h"
#include "tests/simulated_gpu/checker/launch_checker.h"
#include "tests/simulated_gpu/checker/live_blocks.h"

namespace simulated_gpu {
namespace {

void report(ReportKind kind, std::string text, const Operation& operation) {
  add_report({kind, std::move(text), operation.name, "", ""});
}

}  // namespace

struct GlobalShadow::State {
  explicit State(const Arena& memory) : blocks(memory) {}

  LiveBlocks blocks;
  History history;
  std::optional<ShadowCells> shared_cells;

  void begin(const OperationPointer& operation) {
    if (history.operations.is_renumbering_due()) {
      std::vector<std::span<Accessor>> cells;
      for (auto& [address, block] : blocks.all()) cells.push_back(block.cells.all());
      history.operations.renumber(cells);
      shared_cells.reset();
    }
    history.operations.begin(operation);
  }
};

GlobalShadow::GlobalShadow(const Arena& memory) : state_(std::make_unique<State>(memory)) {}
GlobalShadow::~GlobalShadow() = default;

void GlobalShadow::allocated(uint64_t address, uint64_t bytes, OperationPointer operation) {
  state_->blocks.add(address, bytes, std::move(operation));
}

void GlobalShadow::released(uint64_t address, uint64_t, OperationPointer operation) {
  LiveBlock* block = state_->blocks.find(address);
  if (!block) return;
  state_->begin(operation);
  OperationIndex& operations = state_->history.operations;
  const Accessor settled = accessor(operations.ordered_below());
  for (const Accessor cell : block->cells.all()) {
    if (cell < settled || operations.is_ordered(number_of(cell))) continue;
    report(ReportKind::stream,
           "gives back " + block->name() + ", but nothing orders it after \"" +
               operations.culprit(number_of(cell)).name + "\", which uses the block",
           *operation);
    break;
  }
  state_->blocks.remove(address, *operation);
}

bool GlobalShadow::touch(uint64_t address, uint64_t bytes, AccessKind kind,
                         const OperationPointer& operation) {
  if (bytes == 0) return true;
  const char* verb = kind == AccessKind::read ? "reads " : "writes ";
  LiveBlock* block = state_->blocks.find(address);
  if (!block || !block->holds(address, bytes)) {
    report(ReportKind::memory,
           verb + std::to_string(bytes) + " bytes at " + hexadecimal(address) + ": " +
               state_->blocks.whereabouts(address, bytes),
           *operation);
    return false;
  }
  state_->begin(operation);
  if (!happens_before(*block->allocation, *operation))
    report(ReportKind::stream,
           verb + block->name() + ", but nothing orders it after the allocation by \"" +
               block->allocation->name + "\"",
           *operation);
  History& history = state_->history;
  CellCheck check(history, kind);
  check.check(block->cells, address - block->address, {0, 1, bytes, false});
  if (const Conflict& conflict = check.conflict(); conflict.earlier)
    report(
        ReportKind::stream,
        verb + ("byte " + std::to_string(conflict.offset)) + " of " + block->name() + ", which " +
            unordered_text(history.operations.culprit(number_of(conflict.earlier)), conflict.earlier_wrote),
        *operation);
  if (check.absence().lanes)
    report(ReportKind::uninitialised,
           verb + ("byte " + std::to_string(check.absence().offset)) + " of " + block->name() +
               ", which nobody wrote",
           *operation);
  return true;
}

std::unique_ptr<Observer> GlobalShadow::watch_launch(OperationPointer operation) {
  state_->begin(operation);
  return std::make_unique<LaunchChecker>(state_->blocks, state_->history, state_->shared_cells,
                                         std::move(operation));
}

}  // namespace simulated_gpu
