#pragma once
// What went wrong in a run, from the flight recorders of its ranks (runtime/flight_recorder.h).
//
// The collectives of a group are numbered alike on all its ranks, so that ranks can be laid side by side.  Where they differ,
// the majority is right; where there is none, the rank that departs from what it did itself in earlier steps is wrong.
// Where they agree, a rank that others wait for is behind, and what it did last says why.

#include <string>
#include <vector>

#include "runtime/flight_ring.h"

namespace tessera {

enum class Fault : uint8_t {
  none,
  skipped,         ///< a rank left out a collective
  extra,           ///< a rank issued a collective that the others do not have
  reordered,       ///< a rank issued two collectives in another order
  resized,         ///< a rank passed another count or dtype
  dead,            ///< a rank's process ended, or was suspended, without a word
  failed,          ///< a rank ended with an error
  slow,            ///< a rank computes, or hangs outside of collectives, while others wait for it
  stalled_loader,  ///< the same in the wait for a micro-batch
  stalled_save,    ///< the same while it saves
  stuck            ///< all ranks are in the same collective, and it does not complete
};
const char* name_of(Fault fault);  ///< "stalled loader"

struct Verdict {
  Fault fault = Fault::none;
  int rank = -1;           ///< whose fault it is; -1: cannot be told, or nobody's
  FlightRecord at{};       ///< the collective concerned, or, when there is none, the rank's last record
  std::string sentence{};  ///< all of it for people, without a full stop
};

/// rings: those of one start of a run, by rank, at least one.
Verdict examine(const std::vector<FlightRing>& rings);

/// What `tessera post-mortem RUN` prints: the verdict, then the latest records of each rank, with ages relative to the latest
/// sign of life of all; or the same as JSON.  Throws Error when RUN holds no flight recorder that can be read.
std::string post_mortem(const std::string& run, bool json);

/// Where a run keeps its flight recorders.
inline std::string flight_folder(const std::string& run) { return run + "/flight"; }

}  // namespace tessera
