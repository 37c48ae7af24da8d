#include "tests/simulated_gpu/checker/launch_reporter.h"

#include <sstream>

#include "tests/simulated_gpu/checker/live_blocks.h"
#include "tests/simulated_gpu/checker/source_names.h"

namespace simulated_gpu {
namespace {

std::string coordinates(uint64_t index, const uint32_t extent[3]) {
  std::ostringstream text;
  text << "(" << index % extent[0] << "," << index / extent[0] % extent[1] << ","
       << index / extent[0] / extent[1] << ")";
  return text.str();
}

const char* verb(AccessKind kind) {
  switch (kind) {
    case AccessKind::read:
      return " reads ";
    case AccessKind::write:
      return " writes ";
    case AccessKind::atomic:
      return " atomically changes ";
  }
  return "";
}

std::string at_source(const ptx::Instruction& instruction) {
  const std::string source = source_of(instruction);
  return " at " + (source.empty() ? "`" + instruction.text + "`" : source);
}

const char* space_name(ptx::Space space) {
  switch (space) {
    case ptx::Space::shared:
      return "shared";
    case ptx::Space::local:
      return "local";
    case ptx::Space::constant:
      return "constant";
    case ptx::Space::parameter:
    case ptx::Space::frame:
      return "parameter";
    case ptx::Space::global:
    case ptx::Space::none:
      break;
  }
  return "global";
}

}  // namespace

std::string unordered_text(const Operation& earlier, bool earlier_wrote) {
  return "\"" + earlier.name + (earlier_wrote ? "\" wrote" : "\" read") +
         "; no stream order, event or synchronisation orders the two";
}

LaunchReporter::LaunchReporter(const LaunchInfo& launch, const History& history)
    : launch_(launch), history_(history), kernel_(kernel_name(*launch.kernel)) {}

std::string LaunchReporter::thread(int warp, int lane, uint32_t block) const {
  return "thread " + coordinates(static_cast<uint64_t>(32 * warp + lane), launch_.block) + " of block " +
         coordinates(block, launch_.grid);
}

void LaunchReporter::add(ReportKind kind, const ptx::Instruction& instruction, std::string text,
                         uint64_t count) const {
  add_report({kind, std::move(text), kernel_, source_of(instruction), instruction.text, count});
}

void LaunchReporter::memory(const Access& access, uint32_t lanes, const std::string& where) const {
  const int lane = __builtin_ctz(lanes);
  add(ReportKind::memory, *access.instruction,
      thread(access.warp, lane) + verb(access.kind) + std::to_string(access.bytes_per_lane) + " bytes at " +
          space_name(access.space) + " address " + hexadecimal(access.addresses[lane]) + ": " + where,
      static_cast<uint64_t>(__builtin_popcount(lanes)));
}

std::string LaunchReporter::earlier_access(const Conflict& conflict) const {
  const AccessContext& earlier = *history_.context(number_of(conflict.earlier));
  const uint32_t lane = lane_of(conflict.earlier);
  std::string who;
  if (earlier.warp == AccessContext::kSeveralWarps)
    who = "several warps of the same block";
  else if (lane == kSeveralLanes)
    who = "several lanes of warp " + std::to_string(earlier.warp) +
          (earlier.block == block_ ? "" : " of block " + coordinates(earlier.block, launch_.grid));
  else
    who = thread(earlier.warp, static_cast<int>(lane), earlier.block);
  const char* what = !conflict.earlier_wrote ? " read" : earlier.is_atomic ? " atomically changed" : " wrote";
  return who + what + at_source(*earlier.instruction);
}

void LaunchReporter::conflict(const Access& access, const Conflict& conflict,
                              const std::string& place) const {
  const std::string text = thread(access.warp, conflict.lane) + verb(access.kind) + "byte " +
                           std::to_string(conflict.offset) + " of " + place + ", which ";
  const uint32_t number = number_of(conflict.earlier);
  const AccessContext* earlier = history_.context(number);
  if (!earlier) {
    add(ReportKind::stream, *access.instruction,
        text + unordered_text(history_.operations.culprit(number), conflict.earlier_wrote));
    return;
  }
  const char* missing = "; no barrier is between";
  if (earlier->block != block_)
    missing = "; nothing orders the blocks";
  else if (conflict.earlier & kInFlight)
    missing = " asynchronously; the copy was not waited for";
  else if (earlier->warp == access.warp)
    missing = "; no __syncwarp or barrier is between";
  add(ReportKind::race, *access.instruction, text + earlier_access(conflict) + missing);
}

void LaunchReporter::absence(const Access& access, const Absence& absence, const std::string& place) const {
  const int lane = __builtin_ctz(absence.lanes);
  std::string text = thread(access.warp, lane) + verb(access.kind) + "byte " +
                     std::to_string(absence.offset) + " of " + place;
  if (absence.in_flight) {
    const AccessContext& copy = *history_.context(number_of(absence.in_flight));
    text += ", which the asynchronous copy" + at_source(*copy.instruction) + " has not brought yet";
  } else {
    text += ", which nobody wrote";
  }
  add(ReportKind::uninitialised, *access.instruction, std::move(text),
      static_cast<uint64_t>(__builtin_popcount(absence.lanes)));
}

}  // namespace simulated_gpu
