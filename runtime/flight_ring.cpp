#include "runtime/flight_ring.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kMostRanks = 1 << 20;
constexpr int64_t kLatestTime = int64_t{1} << 62;  // a century from now

/// Text of a field that ought to end in 0; what cannot be printed becomes '?'.
template <size_t Size>
std::string text_of(const char (&field)[Size]) {
  std::string text(field, ::strnlen(field, Size));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; }, '?');
  return text;
}

/// The file, or as much of it as is asked for, and its size.
std::pair<std::string, int64_t> bytes_of_file(const std::string& path, FlightPart part) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  TESSERA_CHECK(in, path, ": cannot be opened");
  const auto size = static_cast<int64_t>(in.tellg());
  TESSERA_CHECK(size >= kFlightHeaderBytes, path, ": is cut off: ", size, " bytes, the header has ",
                kFlightHeaderBytes);
  std::string bytes(static_cast<size_t>(part == FlightPart::whole ? size : kFlightHeaderBytes), '\0');
  in.seekg(0).read(bytes.data(), std::ssize(bytes));
  TESSERA_CHECK(in, path, ": cannot be read");
  return {std::move(bytes), size};
}

void check_header(const std::string& path, const FlightHeader& header, int64_t file_bytes) {
  TESSERA_CHECK(std::memcmp(header.magic, kFlightMagic, sizeof kFlightMagic) == 0, path,
                ": is not a flight recorder: its first bytes differ");
  TESSERA_CHECK(header.version == kFlightVersion, path, ": version: expected ", kFlightVersion, ", got ",
                header.version);
  TESSERA_CHECK(header.record_bytes == sizeof(FlightRecord), path, ": record_bytes: expected ",
                sizeof(FlightRecord), ", got ", header.record_bytes);
  TESSERA_CHECK(0 < header.ranks && header.ranks <= kMostRanks, path, ": ranks: expected 1 to ", kMostRanks,
                ", got ", header.ranks);
  TESSERA_CHECK(header.rank < header.ranks, path, ": rank: expected less than ", header.ranks, ", got ",
                header.rank);
  TESSERA_CHECK(
      header.capacity > 0 && header.capacity <= static_cast<uint64_t>(file_bytes) &&
          kFlightHeaderBytes + static_cast<int64_t>(header.capacity * sizeof(FlightRecord)) == file_bytes,
      path, ": capacity: ", header.capacity, " records do not fit a file of ", file_bytes, " bytes");
  TESSERA_CHECK(header.ended <= static_cast<uint32_t>(FlightEnd::hang), path, ": ended: unknown value ",
                header.ended);
  TESSERA_CHECK(header.group_count <= FlightHeader::kGroups, path, ": group_count: expected at most ",
                FlightHeader::kGroups, ", got ", header.group_count);
}

bool is_sound(const FlightRecord& record, size_t slot, uint64_t capacity) {
  return record.check == flight_check(record) && record.index > 0 && (record.index - 1) % capacity == slot &&
         record.event <= static_cast<uint8_t>(FlightEvent::done) &&
         record.operation <= static_cast<uint8_t>(FlightOperation::barrier) &&
         record.phase <= static_cast<uint8_t>(FlightPhase::save) &&
         record.dtype <= static_cast<uint8_t>(DType::u8) && record.about[sizeof record.about - 1] == 0;
}

std::string host_name() {
  char name[64] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

ProcessState state_of(int64_t pid) {
  std::ifstream in(str("/proc/", pid, "/stat"));
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const size_t name_end = text.rfind(')');  // "pid (name) S ...", where a name may hold anything
  if (name_end == std::string::npos || name_end + 2 >= text.size()) return ProcessState::gone;
  const char letter = text[name_end + 2];
  if (letter == 'T' || letter == 't') return ProcessState::stopped;
  return letter == 'Z' || letter == 'X' ? ProcessState::gone : ProcessState::running;
}

}  // namespace

FlightRing read_flight_ring(const std::string& path, FlightPart part) {
  const auto [bytes, file_bytes] = bytes_of_file(path, part);
  FlightHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  check_header(path, header, file_bytes);
  // The fields of a damaged header may be anything: no sum overflows here, nor the difference of two results.
  const auto wall = [&header](int64_t steady_ns) {
    const uint64_t sum = static_cast<uint64_t>(header.wall_base_ns) + static_cast<uint64_t>(steady_ns) -
                         static_cast<uint64_t>(header.steady_base_ns);
    return std::clamp<int64_t>(static_cast<int64_t>(sum), 0, kLatestTime);
  };
  FlightRing ring{.path = path,
                  .rank = static_cast<int>(header.rank),
                  .ranks = static_cast<int>(header.ranks),
                  .run = header.run,
                  .pid = header.pid,
                  .host = text_of(header.host),
                  .watchdog_ns = header.watchdog_ns,
                  .started_ns = header.wall_base_ns,
                  .last_ns = wall(header.last_ns),
                  .alive_ns = wall(header.alive_ns),
                  .gap_begin_ns = wall(header.gap_begin_ns),
                  .gap_end_ns = wall(header.gap_end_ns),
                  .inside_group = header.inside_group,
                  .inside_sequence = header.inside_sequence,
                  .inside_since_ns = wall(header.inside_since_ns),
                  .end = static_cast<FlightEnd>(header.ended),
                  .ended_ns = wall(header.ended_ns),
                  .last_words = text_of(header.last_words)};
  ring.groups.assign(header.groups, header.groups + header.group_count);
  const uint64_t slots = part == FlightPart::whole ? header.capacity : 0;
  for (uint64_t slot = 0; slot < slots; ++slot) {
    FlightRecord record;
    std::memcpy(&record, bytes.data() + kFlightHeaderBytes + slot * sizeof record, sizeof record);
    if (record.index == 0 && record.check == 0) continue;  // never written
    if (is_sound(record, slot, header.capacity)) {
      record.time_ns = wall(record.time_ns);
      ring.records.push_back(record);
    } else {
      ++ring.damaged;
    }
  }
  std::ranges::sort(ring.records, {}, &FlightRecord::index);
  if (ring.host == host_name()) ring.process = state_of(ring.pid);
  return ring;
}

std::string flight_ring_path(const std::string& folder, int rank) {
  char name[32];
  std::snprintf(name, sizeof name, "/rank_%05d.ring", rank);
  return folder + name;
}

std::vector<FlightRing> read_flight_rings(const std::string& folder, std::vector<std::string>& problems,
                                          FlightPart part) {
  std::vector<FlightRing> rings;
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, failure)) {
    if (entry.path().extension() != ".ring") continue;
    try {
      rings.push_back(read_flight_ring(entry.path().string(), part));
    } catch (const Error& error) {
      problems.emplace_back(error.what());
    }
  }
  TESSERA_CHECK(!failure, folder, ": no flight recorders: ", failure.message());
  TESSERA_CHECK(!rings.empty(), folder, ": no flight recorder can be read",
                problems.empty() ? "" : ": " + problems.front());
  const FlightRing latest = *std::ranges::max_element(rings, {}, &FlightRing::started_ns);
  std::erase_if(rings,
                [&](const FlightRing& ring) { return ring.run != latest.run || ring.ranks != latest.ranks; });
  std::ranges::sort(rings, {}, &FlightRing::rank);
  const auto same = std::ranges::unique(rings, {}, &FlightRing::rank);
  rings.erase(same.begin(), same.end());
  return rings;
}

}  // namespace tessera
