#include "launch/tensorboard.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "launch/event.pb.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::array<uint32_t, 256> kCrcTable = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) ? 0x82f63b78u : 0u);
    table[byte] = remainder;
  }
  return table;
}();

/// TFRecord stores rotated and shifted sums, since the sum of bytes that hold their own sum is weak.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t sum = crc32c(bytes);
  return ((sum >> 15) | (sum << 17)) + 0xa282ead8u;
}

template <class T>
void put_little_endian(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((value >> (8 * i)) & 0xff);
}

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Viewers read the files of a folder in the order of their names, and know them by "tfevents".
std::string event_path(const std::string& directory) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  std::array<char, 400> name{};
  std::snprintf(name.data(), name.size(), "events.out.tfevents.%017.6f.%s", seconds_since_1970(),
                host.data());
  return (std::filesystem::path(directory) / name.data()).string();
}

events::Event event_at(int64_t step) {
  events::Event event;
  event.set_wall_time(seconds_since_1970());
  event.set_step(step);
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t sum = ~0u;
  for (char letter : bytes) sum = (sum >> 8) ^ kCrcTable[(sum ^ static_cast<uint8_t>(letter)) & 0xff];
  return ~sum;
}

std::string tfrecord(std::string_view data) {
  std::string frame;
  frame.reserve(data.size() + 16);
  put_little_endian(frame, static_cast<uint64_t>(data.size()));
  put_little_endian(frame, masked_crc(frame));
  frame += data;
  put_little_endian(frame, masked_crc(data));
  return frame;
}

TensorBoard::TensorBoard(const std::string& directory, int64_t first_step) : file_(event_path(directory)) {
  events::Event version = event_at(0);
  version.set_file_version("brain.Event:2");
  file_.append(tfrecord(version.SerializeAsString()));
  // A start at a step is what makes viewers drop what an earlier, longer run said of it and of later ones.
  events::Event start = event_at(first_step);
  start.mutable_session_log()->set_status(events::SessionLog::START);
  file_.append(tfrecord(start.SerializeAsString()));
}

void TensorBoard::scalars(int64_t step, std::span<const std::pair<std::string, double>> values) {
  events::Event event = event_at(step);
  for (const auto& [tag, number] : values) {
    events::Summary::Value& value = *event.mutable_summary()->add_value();
    value.set_tag(tag);
    value.set_simple_value(static_cast<float>(number));
  }
  file_.append(tfrecord(event.SerializeAsString()));
}

}  // namespace tessera
