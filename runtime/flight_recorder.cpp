#include "runtime/flight_recorder.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "runtime/error.h"
#include "runtime/trace.h"

namespace tessera {
namespace {

int64_t wall_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// What fits, with a 0 behind it.
template <size_t Size>
void put(char (&field)[Size], std::string_view text) {
  const size_t length = std::min(text.size(), Size - 1);
  std::memcpy(field, text.data(), length);
  std::memset(field + length, 0, Size - length);
}

template <class T>
void publish(T& field, T value) {
  std::atomic_ref(field).store(value, std::memory_order_release);
}

}  // namespace

const char* name_of(FlightEvent event) {
  constexpr const char* kNames[] = {"step", "phase", "enter", "done"};
  return kNames[static_cast<size_t>(event)];
}

const char* name_of(FlightOperation operation) {
  constexpr const char* kNames[] = {"none", "split", "all_gather", "all_to_all", "broadcast", "barrier"};
  return kNames[static_cast<size_t>(operation)];
}

const char* name_of(FlightPhase phase) {
  constexpr const char* kNames[] = {"setup", "loader", "forward", "backward", "optimizer", "report", "save"};
  return kNames[static_cast<size_t>(phase)];
}

const char* name_of(FlightEnd end) {
  constexpr const char* kNames[] = {"none", "finished", "error", "hang"};
  return kNames[static_cast<size_t>(end)];
}

uint64_t flight_check(const FlightRecord& record) {
  uint64_t words[sizeof(FlightRecord) / sizeof(uint64_t)];
  std::memcpy(words, &record, sizeof record);
  uint64_t hash = 0x9e3779b97f4a7c15;
  for (size_t i = 0; i + 1 < std::size(words); ++i)
    hash = std::rotl((hash ^ words[i]) * 0xd6e8feb86659fd93, 29);
  return hash;
}

FlightRecorder::FlightRecorder(int rank, int ranks, int64_t records, uint64_t run)
    : bytes_(static_cast<size_t>(kFlightHeaderBytes) + static_cast<size_t>(records) * sizeof(FlightRecord)) {
  void* memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TESSERA_CHECK(memory != MAP_FAILED, "flight recorder: no memory for ", records,
                " records: ", std::strerror(errno));
  memory_ = static_cast<char*>(memory);
  header_ = new (memory_) FlightHeader();
  records_ = reinterpret_cast<FlightRecord*>(memory_ + kFlightHeaderBytes);
  std::memcpy(header_->magic, kFlightMagic, sizeof kFlightMagic);
  header_->version = kFlightVersion;
  header_->record_bytes = sizeof(FlightRecord);
  header_->rank = static_cast<uint32_t>(rank);
  header_->ranks = static_cast<uint32_t>(ranks);
  header_->capacity = static_cast<uint64_t>(records);
  header_->run = run;
  header_->pid = ::getpid();
  header_->steady_base_ns = Trace::now_ns();
  header_->wall_base_ns = wall_now_ns();
  header_->alive_ns = header_->last_ns = header_->steady_base_ns;
  ::gethostname(header_->host, sizeof header_->host - 1);
}

FlightRecorder::~FlightRecorder() { ::munmap(memory_, bytes_); }

void FlightRecorder::persist(const std::string& path) {
  const std::string temporary = path + ".tmp";
  const int file = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  TESSERA_CHECK(file >= 0, path, ": cannot be written: ", std::strerror(errno));
  // Blocks are taken now: a hole in a mapped file on a full disk would end the process with SIGBUS later.
  int failure = ::posix_fallocate(file, 0, static_cast<off_t>(bytes_));
  if (failure == 0 && ::pwrite(file, memory_, bytes_, 0) != static_cast<ssize_t>(bytes_)) failure = errno;
  if (failure == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) failure = errno;
  // Over the old pages in one call, so that nobody's pointer dangles.
  if (failure == 0 &&
      ::mmap(memory_, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) {
    failure = errno;
    std::remove(path.c_str());
  }
  ::close(file);
  if (failure == 0) return;
  std::remove(temporary.c_str());
  throw Error(str(path, ": cannot be written: ", std::strerror(failure)));
}

void FlightRecorder::write(FlightRecord& record, std::string_view about) {
  record.index = written_ + 1;
  record.time_ns = Trace::now_ns();
  record.step = step_;
  record.round = round_;
  record.phase = static_cast<uint8_t>(phase_);
  put(record.about, about);
  record.check = flight_check(record);
  records_[written_ % header_->capacity] = record;
  ++written_;
  publish(header_->last_ns, record.time_ns);
  publish(header_->written, written_);
  // Between two records computation has taken the caches.
  const char* next = reinterpret_cast<const char*>(&records_[written_ % header_->capacity]);
  __builtin_prefetch(next, 1);
  __builtin_prefetch(next + 64, 1);
  __builtin_prefetch(next + 128, 1);
}

void FlightRecorder::step(int64_t step) {
  step_ = step;
  round_ = 0;
  FlightRecord record{};
  record.event = static_cast<uint8_t>(FlightEvent::step);
  write(record, "");
}

void FlightRecorder::phase(FlightPhase phase) {
  phase_ = phase;
  ++phases_;
  FlightRecord record{};
  record.event = static_cast<uint8_t>(FlightEvent::phase);
  write(record, "");
}

void FlightRecorder::join(const FlightGroup& group) {
  if (header_->group_count == FlightHeader::kGroups) return;
  header_->groups[header_->group_count] = group;
  publish(header_->group_count, header_->group_count + 1);
}

void FlightRecorder::write(FlightEvent event, const FlightCollective& collective, std::string_view about) {
  FlightRecord record{};
  record.event = static_cast<uint8_t>(event);
  record.operation = static_cast<uint8_t>(collective.operation);
  record.dtype = static_cast<uint8_t>(collective.dtype);
  record.group = collective.group;
  record.sequence = collective.sequence;
  record.count = collective.count;
  record.result = collective.result;
  write(record, about);
}

void FlightRecorder::be_inside(const FlightCollective& collective, int64_t since_ns) {
  publish(header_->inside_since_ns, since_ns);
  publish(header_->inside_sequence, collective.sequence);
  publish(header_->inside_group, collective.group);
}

void FlightRecorder::enter(const FlightCollective& collective, std::string_view about) {
  write(FlightEvent::enter, collective, about);
  be_inside(collective, header_->last_ns);
}

void FlightRecorder::under_way() { publish(header_->inside_group, uint64_t{0}); }

void FlightRecorder::wait(const FlightCollective& collective) { be_inside(collective, Trace::now_ns()); }

void FlightRecorder::done(const FlightCollective& collective, std::string_view about) {
  publish(header_->inside_group, uint64_t{0});
  write(FlightEvent::done, collective, about);
}

void FlightRecorder::heartbeat() {
  const int64_t now = Trace::now_ns();
  if (now - header_->alive_ns > kMissingHeartbeatNs) {
    header_->gap_begin_ns = header_->alive_ns;
    publish(header_->gap_end_ns, now);
  }
  publish(header_->alive_ns, now);
}

void FlightRecorder::flush() { ::msync(memory_, bytes_, MS_SYNC); }

void FlightRecorder::end(FlightEnd how, std::string_view last_words) {
  if (std::atomic_ref(header_->ended).load(std::memory_order_acquire) != 0) return;
  put(header_->last_words, last_words);
  publish(header_->ended_ns, Trace::now_ns());
  publish(header_->ended, static_cast<uint32_t>(how));
}

uint64_t FlightRecorder::written() const {
  return std::atomic_ref(header_->written).load(std::memory_order_acquire);
}

}  // namespace tessera
