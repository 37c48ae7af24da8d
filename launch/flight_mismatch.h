#pragma once
// Where ranks of a group did not issue the same collectives, and whose fault that is.

#include <optional>
#include <span>

#include "launch/flight_timeline.h"
#include "launch/post_mortem.h"

namespace tessera {

/// The earliest difference that all members of its group still remember.
std::optional<Verdict> find_mismatch(std::span<const Timeline> timelines);

/// True when the rank did something else in earlier steps after the same past.
bool departs_from_itself(const Timeline& timeline, uint64_t group, uint64_t sequence);

/// "rank 3", "ranks 0, 2 and 3".
std::string list_of(const std::vector<const Timeline*>& members);

}  // namespace tessera
