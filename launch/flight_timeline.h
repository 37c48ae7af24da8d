#pragma once
// One rank's records in the order in which it made them, and how collectives of two ranks compare.

#include <map>
#include <string>
#include <vector>

#include "runtime/flight_ring.h"

namespace tessera {

struct Timeline {
  using Calls = std::map<uint64_t, FlightRecord>;  ///< by sequence; the oldest record of each collective

  /// ring must outlive this.
  explicit Timeline(const FlightRing& ring);

  bool is_member(uint64_t group) const;
  /// The collectives of a group that the ring remembers.
  const Calls& calls(uint64_t group) const;
  const FlightRecord* call(uint64_t group, uint64_t sequence) const;  ///< null when it is not remembered
  /// How many collectives of the group the rank has entered.
  uint64_t issued(uint64_t group) const;

  FlightEvent last_event() const { return static_cast<FlightEvent>(last.event); }
  FlightPhase phase() const { return static_cast<FlightPhase>(last.phase); }
  /// The rank is in a collective, or waits for its result.
  bool blocked() const { return inside.group != 0 && ring->end != FlightEnd::finished; }

  const FlightRing* ring;
  FlightRecord last{};  ///< zeros when there is none
  FlightRecord
      inside{};  ///< the collective that the rank is in or waits for, since time_ns; zeros when there is none
  std::map<uint64_t, Calls> by_group{};
};

/// Same operation, purpose and arguments.
bool same_call(const FlightRecord& a, const FlightRecord& b);
/// Same operation for the same purpose.
bool same_purpose(const FlightRecord& a, const FlightRecord& b);
/// Whether two members of a group may pass these to one collective.
bool belong_together(const FlightRecord& a, const FlightRecord& b);

/// "all_gather for gather blocks.3.attention".
std::string short_name(const FlightRecord& record);
/// The same with " (step 12, round 0, forward)"; that alone for what is no collective.
std::string describe(const FlightRecord& record);
/// "100 f32 into 400".
std::string size_of(const FlightRecord& record);

}  // namespace tessera
