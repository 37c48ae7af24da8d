#include "tests/simulated_gpu/checker/launch_checker.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace simulated_gpu {
namespace {

/// Calls visit(lane) for the lanes in the mask.
void for_each_lane(uint32_t mask, auto&& visit) {
  for (; mask; mask &= mask - 1) visit(__builtin_ctz(mask));
}

bool releases(const ptx::Instruction& instruction) {
  return (instruction.has(ptx::Modifier::release) || instruction.has(ptx::Modifier::acq_rel)) &&
         !instruction.has(ptx::Modifier::cta);
}

/// An asynchronous copy that reads fewer bytes than it fills is left to the executor, which knows what it
/// fills.
uint32_t alignment(const Access& access) { return access.bytes_per_lane & (~access.bytes_per_lane + 1); }

bool is_aligned(const Access& access, uint64_t address) { return (address & (alignment(access) - 1)) == 0; }

/// Calls visit(segment) for the lanes in the mask, in segments as long as can be.
void for_each_segment(const Access& access, uint32_t mask, auto&& visit) {
  const uint64_t* addresses = access.addresses;
  const bool may_share = access.kind == AccessKind::read;
  while (mask) {
    const int first = __builtin_ctz(mask);
    const int end =
        first + __builtin_ctzll(~(uint64_t{mask} >> first));  // of the active lanes that follow each other
    Segment segment{first, 1, access.bytes_per_lane, false};
    int last = first + 1;
    if (may_share && last < end && addresses[last] == addresses[first]) {
      segment.is_same = true;
      while (last < end && addresses[last] == addresses[first]) ++last;
    } else {
      while (last < end && addresses[last] == addresses[last - 1] + access.bytes_per_lane) ++last;
    }
    segment.lanes = last - first;
    visit(segment);
    mask &= last < 32 ? ~uint32_t{0} << last : 0;
  }
}

ReportKind kind_of_rule(std::string_view rule) {
  if (rule == "address" || rule == "alignment") return ReportKind::memory;
  if (rule == "assert" || rule == "trap") return ReportKind::usage;
  return ReportKind::synchronisation;
}

}  // namespace

LaunchChecker::LaunchChecker(LiveBlocks& blocks, History& history, std::optional<ShadowCells>& shared_cells,
                             OperationPointer operation)
    : blocks_(blocks), history_(history), shared_cells_(shared_cells), operation_(std::move(operation)) {}

void LaunchChecker::launch_begins(const LaunchInfo& launch) {
  launch_ = launch;
  history_.operations.begin(operation_);
  history_.launch_begins(launch);
  reporter_.emplace(launch, history_);
  block_of_instruction_.assign(launch.kernel->code.size(), nullptr);
  // Cells of another size would be split where this launch has no need of it.
  if (!shared_cells_ || shared_cells_->bytes() != launch.shared_bytes)
    shared_cells_.emplace(launch.shared_bytes);
}

/// A launch may end by an exception.
LaunchChecker::~LaunchChecker() { history_.launch_ends(); }

void LaunchChecker::launch_ends() { history_.launch_ends(); }

void LaunchChecker::block_begins(const uint32_t index[3]) {
  const uint32_t linear = index[0] + launch_.grid[0] * (index[1] + launch_.grid[1] * index[2]);
  history_.block_begins(linear);
  reporter_->block_begins(linear);
}

uint32_t LaunchChecker::access(const Access& access) {
  if (!access.mask) return 0;
  switch (access.space) {
    case ptx::Space::global:
    case ptx::Space::constant:
      return access_global(access);
    case ptx::Space::shared:
      return access_shared(access);
    case ptx::Space::local:
      return access_window(access, launch_.kernel->local_bytes, "local memory");
    case ptx::Space::parameter:
      return access_window(access, launch_.kernel->parameter_bytes, "the parameters");
    case ptx::Space::frame:
      return access_window(access, launch_.kernel->frame_bytes, "the parameters of functions");
    case ptx::Space::none:
      break;
  }
  reporter_->memory(access, access.mask, "in no memory");
  return 0;
}

LiveBlock* LaunchChecker::block_of(const Access& access, uint64_t address) {
  LiveBlock*& last = block_of_instruction_[static_cast<size_t>(access.instruction->index)];
  if (last && last->holds(address, 1)) return last;
  LiveBlock* block = blocks_.find(address);
  if (!block) return nullptr;
  last = block;
  if (!happens_before(*block->allocation, *operation_))
    reporter_->add(ReportKind::stream, *access.instruction,
                   block->name() + " is used, but nothing orders the launch after its allocation by \"" +
                       block->allocation->name + "\"");
  return block;
}

uint32_t LaunchChecker::access_global(const Access& access) {
  const Settled settled{accessor(1), accessor(history_.operations.ordered_below()),
                        accessor(history_.block_first()), accessor(history_.ordered_to(access.warp))};
  if (access.kind == AccessKind::atomic && releases(*access.instruction))
    history_.fence(access.warp, access.mask);
  CellCheck check(history_, settled, access);
  uint32_t outside = 0, misaligned = 0;
  for_each_segment(access, access.mask, [&](const Segment& segment) {
    const uint64_t address = access.addresses[segment.first_lane];
    LiveBlock* block = block_of(access, address);
    if (block && block->holds(address, segment.bytes()) && is_aligned(access, address)) {
      check.check(block->cells, address - block->address, segment);
      return;
    }
    for (int lane = segment.first_lane; lane < segment.first_lane + segment.lanes; ++lane) {
      block = block_of(access, access.addresses[lane]);
      if (!block || !block->holds(access.addresses[lane], access.bytes_per_lane))
        outside |= 1u << lane;
      else if (!is_aligned(access, access.addresses[lane]))
        misaligned |= 1u << lane;
      else
        check.check(block->cells, access.addresses[lane] - block->address,
                    {lane, 1, access.bytes_per_lane, false});
    }
  });
  const uint32_t allowed = access.mask & ~(outside | misaligned);
  if (access.kind == AccessKind::atomic)
    for_each_lane(allowed,
                  [&](int lane) { history_.atomic(access.addresses[lane], 32 * access.warp + lane); });
  if (outside) {
    const uint64_t address = access.addresses[__builtin_ctz(outside)];
    reporter_->memory(access, outside, blocks_.whereabouts(address, access.bytes_per_lane));
  }
  report_misaligned(access, misaligned);
  report(check, access, [&](int lane) { return block_of(access, access.addresses[lane])->name(); });
  return allowed;
}

uint32_t LaunchChecker::access_shared(const Access& access) {
  const uint32_t allowed = access_window(access, launch_.shared_bytes, "shared memory of the block");
  const Accessor first = accessor(history_.block_first());
  const Settled settled{first, first, first, accessor(history_.ordered_to(access.warp))};
  CellCheck check(history_, settled, access);
  for_each_segment(access, allowed, [&](const Segment& segment) {
    check.check(*shared_cells_, access.addresses[segment.first_lane], segment);
  });
  report(check, access, [](int) { return std::string("shared memory"); });
  return allowed;
}

void LaunchChecker::report(const CellCheck& check, const Access& access,
                           const std::function<std::string(int lane)>& place) const {
  if (const Conflict& conflict = check.conflict(); conflict.earlier)
    reporter_->conflict(access, conflict, place(conflict.lane));
  if (const Absence& absence = check.absence(); absence.lanes)
    reporter_->absence(access, absence, place(__builtin_ctz(absence.lanes)));
}

void LaunchChecker::report_misaligned(const Access& access, uint32_t lanes) const {
  if (lanes) reporter_->memory(access, lanes, "not a multiple of " + std::to_string(alignment(access)));
}

uint32_t LaunchChecker::access_window(const Access& access, uint64_t bytes, const char* window) const {
  // All lanes at once where nothing is wrong, in a loop without branches.
  const uint64_t last = bytes - access.bytes_per_lane;
  uint64_t bits = 0;
  bool is_inside = access.bytes_per_lane <= bytes;
  for (int lane = 0; lane < 32; ++lane) {
    const uint64_t address = access.mask >> lane & 1 ? access.addresses[lane] : 0;
    bits |= address;
    is_inside &= address <= last;
  }
  if (is_inside && is_aligned(access, bits)) return access.mask;
  uint32_t outside = 0, misaligned = 0;
  for_each_lane(access.mask, [&](int lane) {
    const uint64_t address = access.addresses[lane];
    if (address >= bytes || access.bytes_per_lane > bytes - address)
      outside |= 1u << lane;
    else if (!is_aligned(access, address))
      misaligned |= 1u << lane;
  });
  if (outside)
    reporter_->memory(access, outside,
                      std::string("outside ") + window + ", " + std::to_string(bytes) + " bytes");
  report_misaligned(access, misaligned);
  return access.mask & ~(outside | misaligned);
}

void LaunchChecker::asynchronous_copy_done(int warp, int lane, uint64_t shared_address, uint32_t bytes) {
  const ShadowCells::Range range = shared_cells_->range(shared_address, bytes);
  for (size_t i = range.first; i < range.first + range.count; ++i) {
    Accessor& writer = shared_cells_->writer()[i];
    const uint32_t issue = number_of(writer);
    if (!(writer & kInFlight) || issue < history_.block_first() ||
        lane_of(writer) != static_cast<uint32_t>(lane))
      continue;
    if (history_.context(issue)->warp == warp)
      writer = accessor(history_.number_of_completion(issue), static_cast<uint32_t>(lane));
  }
}

void LaunchChecker::barrier_passes(const ptx::Instruction&, const std::vector<uint32_t>& warps) {
  history_.barrier(warps);
}

void LaunchChecker::warp_synchronises(int warp, uint32_t mask) { history_.warp_synchronises(warp, mask); }

void LaunchChecker::fences(int warp, uint32_t mask, bool device_scope) {
  if (device_scope) history_.fence(warp, mask);
}

void LaunchChecker::violates(const ptx::Instruction& instruction, const char* rule, const std::string& text,
                             int warp, uint32_t lanes) {
  std::string who;
  if (lanes) who = reporter_->thread(warp, __builtin_ctz(lanes)) + ": ";
  reporter_->add(kind_of_rule(rule), instruction, who + rule + ": " + text);
}

}  // namespace simulated_gpu
