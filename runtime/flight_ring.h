#pragma once
// Reading flight recorders (runtime/flight_recorder.h), those of dead processes and those that are being written.

#include <string>
#include <vector>

#include "runtime/flight_recorder.h"

namespace tessera {

/// What became of a process, as far as this machine can see.
enum class ProcessState : uint8_t { unknown, running, stopped, gone };

/// One rank's ring.  All times are nanoseconds since 1970.
struct FlightRing {
  std::string path;
  int rank = 0, ranks = 1;
  uint64_t run = 0;
  int64_t pid = 0;
  std::string host;
  ProcessState process = ProcessState::unknown;
  int64_t watchdog_ns = 0;
  int64_t started_ns = 0, last_ns = 0, alive_ns = 0;  ///< last: of the latest record
  int64_t gap_begin_ns = 0, gap_end_ns = 0;           ///< the latest time without heartbeats
  uint64_t inside_group = 0, inside_sequence = 0;     ///< as in FlightHeader
  int64_t inside_since_ns = 0;
  FlightEnd end = FlightEnd::none;
  int64_t ended_ns = 0;
  std::string last_words{};
  std::vector<FlightGroup> groups{};
  std::vector<FlightRecord> records{};  ///< whole ones, oldest first
  int64_t damaged = 0;                  ///< records that are not whole, or do not belong where they lie
};

enum class FlightPart : uint8_t { header, whole };

/// Believes no byte: a record that is torn or damaged is left out and counted.  Throws Error naming the file and the field
/// when the header cannot be trusted.
FlightRing read_flight_ring(const std::string& path, FlightPart part = FlightPart::whole);

/// FOLDER/rank_00003.ring
std::string flight_ring_path(const std::string& folder, int rank);

/// The rings of the latest start in a folder, by rank; those of earlier starts are left out.  Each file that cannot be read
/// adds a sentence to problems.  Throws Error when the folder holds no ring that can be read.
std::vector<FlightRing> read_flight_rings(const std::string& folder, std::vector<std::string>& problems,
                                          FlightPart part = FlightPart::whole);

}  // namespace tessera
