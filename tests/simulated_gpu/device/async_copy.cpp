// cp.async: copies from global to shared memory that the issuing thread may only rely on after a wait.
//
// The copy is made as late as the rules allow, at the matching wait; until then the destination holds NaN.  A
// wait that is missing or too weak therefore shows in the results, whatever the schedule.  PTX ISA 9.0,
// section 9.7.9.25.

#include <algorithm>
#include <cstring>

#include "tests/simulated_gpu/device/access.h"
#include "tests/simulated_gpu/device/form.h"

namespace simulated_gpu {
namespace {

using ptx::Modifier;
using ptx::Space;

/// Lanes of the mask that the source address may be read from: those that copy at least one byte.  Lanes that
/// copy different amounts are told to the observer apart.
uint32_t check_sources(Warp& warp, const Step& step, uint32_t mask, const Addresses& global,
                       const uint32_t* bytes) {
  const View view = view_of(warp, Space::global);
  uint32_t allowed = 0;
  for (uint32_t rest = mask; rest != 0;) {
    const uint32_t size = bytes[__builtin_ctz(rest)];
    const uint32_t lanes = rest & lanes_where([&](uint32_t lane) { return bytes[lane] == size; });
    rest &= ~lanes;
    if (size == 0) {
      allowed |= lanes;
    } else {
      allowed |= check_access(warp, step, view, AccessKind::read, lanes, global, size, {step.bytes, true});
    }
  }
  return allowed;
}

/// sources: shared address, global address, bytes to read; bytes: to write.
void issue(Warp& warp, const Step& step, uint32_t mask) {
  Addresses shared, global;
  read_addresses(warp, step, 0, mask, shared);
  const uint64_t* from = warp.lanes<uint64_t>(step.sources[1]);
  for_lanes(mask, [&](uint32_t lane) {
    global[lane] = from[lane] + static_cast<uint64_t>(step.source_displacement);
  });
  uint32_t source_bytes[32] = {};
  const uint32_t* given = warp.lanes<uint32_t>(step.sources[2]);
  for_lanes(mask, [&](uint32_t lane) { source_bytes[lane] = std::min(given[lane], step.bytes); });
  mask = check_sources(warp, step, mask, global, source_bytes);
  if (mask == 0) return;
  const View view = view_of(warp, Space::shared);
  mask = check_access(warp, step, view, AccessKind::write, mask, shared, step.bytes, {step.bytes, true});
  for_lanes_in_turn(mask, [&](uint32_t lane) {
    std::memset(view.at(lane, shared[lane]), kPoison, step.bytes);
    warp.copies[lane].open.push_back({shared[lane], global[lane], step.bytes, source_bytes[lane]});
  });
}

void complete(Warp& warp, uint32_t lane, const std::vector<PendingCopy>& group) {
  const View shared = view_of(warp, Space::shared), global = view_of(warp, Space::global);
  for (const PendingCopy& copy : group) {
    std::byte* to = shared.at(lane, copy.shared);
    if (copy.source_bytes != 0) std::memcpy(to, global.at(lane, copy.global), copy.source_bytes);
    std::memset(to + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
    warp.block->observer.asynchronous_copy_done(warp.index, static_cast<int>(lane), copy.shared, copy.bytes);
  }
}

void commit(Warp& warp, const Step&, uint32_t mask) {
  for_lanes_in_turn(mask, [&](uint32_t lane) {
    warp.copies[lane].groups.push_back(std::move(warp.copies[lane].open));
    warp.copies[lane].open.clear();
  });
}

/// option: how many of the newest groups may stay pending.
void wait_group(Warp& warp, const Step& step, uint32_t mask) {
  for_lanes_in_turn(mask, [&](uint32_t lane) {
    auto& groups = warp.copies[lane].groups;
    if (groups.size() <= step.option) return;
    const auto end = groups.end() - step.option;
    for (auto group = groups.begin(); group != end; ++group) complete(warp, lane, *group);
    groups.erase(groups.begin(), end);
  });
}

void wait_all(Warp& warp, const Step& step, uint32_t mask) {
  commit(warp, step, mask);
  wait_group(warp, step, mask);
}

void decode_issue(Form& form) {
  form.expect_operands(3, 4);
  const bool bypasses_l1 = form.take(Modifier::cg);
  form.ignore({Modifier::ca, Modifier::shared, Modifier::shared_cta, Modifier::global, Modifier::l2_64b,
               Modifier::l2_128b, Modifier::l2_256b});
  form.step.bytes = static_cast<uint32_t>(form.operand(2).value);
  const uint32_t bytes = form.step.bytes;
  if (form.operand(2).kind != ptx::Operand::Kind::immediate || (bytes != 4 && bytes != 8 && bytes != 16)) {
    form.fail("copies have 4, 8 or 16 bytes");
  }
  if (bypasses_l1 && bytes != 16) form.fail(".cg copies 16 bytes");
  if (form.address(1, 1, Space::global) != 8) form.fail("a global address has 8 bytes");
  form.step.source_displacement = form.step.displacement;
  if (form.address(0, 0, Space::shared) == 4) form.step.option = kNarrowAddress;
  form.step.sources[2] = form.source(form.operands() - 1, 4);
  form.step.handler = issue;
}

}  // namespace

bool decode_async_copy(Form& form) {
  if (form.opcode() != ptx::Opcode::cp || !form.take(Modifier::async)) return false;
  if (form.take(Modifier::commit_group)) {
    form.expect_operands(0);
    form.step.handler = commit;
  } else if (form.take(Modifier::wait_all)) {
    form.expect_operands(0);
    form.step.handler = wait_all;
  } else if (form.take(Modifier::wait_group)) {
    form.expect_operands(1);
    if (form.operand(0).kind != ptx::Operand::Kind::immediate)
      form.fail("the number of groups is an immediate");
    form.step.option = static_cast<uint32_t>(form.operand(0).value);
    form.step.handler = wait_group;
  } else {
    decode_issue(form);
  }
  return true;
}

}  // namespace simulated_gpu
