#pragma once
// Reads event files back: frames and sums by their definition, bit by bit, apart from the code under test.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "launch/event.pb.h"
#include "runtime/error.h"
#include "tests/data/temporary_folder.h"

namespace tessera {

struct EventRecord {
  int64_t step = 0;
  std::string file_version;
  bool starts = false;
  std::map<std::string, float> scalars;
};

inline uint32_t masked_crc_by_bits(std::string_view bytes) {
  uint32_t sum = 0xffffffffu;
  for (char letter : bytes) {
    sum ^= static_cast<uint8_t>(letter);
    for (int bit = 0; bit < 8; ++bit) sum = (sum & 1) ? (sum >> 1) ^ 0x82f63b78u : sum >> 1;
  }
  return std::rotr(~sum, 15) + 0xa282ead8u;
}

template <class T>
T take(std::string_view& bytes) {
  TESSERA_CHECK(bytes.size() >= sizeof(T), "event file: ends inside a frame");
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}

/// The data of every record.  Throws Error when a sum or a length is wrong.
inline std::vector<std::string> read_records(std::string_view bytes) {
  std::vector<std::string> records;
  while (!bytes.empty()) {
    const std::string_view length_bytes = bytes.substr(0, 8);
    const auto length = take<uint64_t>(bytes);
    TESSERA_CHECK(take<uint32_t>(bytes) == masked_crc_by_bits(length_bytes), "event file: sum of a length");
    TESSERA_CHECK(length <= bytes.size(), "event file: ends inside a record");
    records.emplace_back(bytes.substr(0, length));
    bytes.remove_prefix(length);
    TESSERA_CHECK(take<uint32_t>(bytes) == masked_crc_by_bits(records.back()), "event file: sum of a record");
  }
  return records;
}

inline std::vector<EventRecord> read_events(const std::string& path) {
  std::vector<EventRecord> events;
  for (const std::string& record : read_records(bytes_of_file(path))) {
    events::Event event;
    TESSERA_CHECK(event.ParseFromString(record), "event file: a record is not an event");
    EventRecord& read = events.emplace_back();
    read.step = event.step();
    read.file_version = event.file_version();
    read.starts = event.session_log().status() == events::SessionLog::START;
    for (const auto& value : event.summary().value()) read.scalars[value.tag()] = value.simple_value();
  }
  return events;
}

/// In the order in which a viewer reads them.
inline std::vector<std::string> event_files(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace tessera
