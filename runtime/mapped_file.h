#pragma once
// A file as memory, for reading: no copies, no locks, any number of threads.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tessera {

class MappedFile {
 public:
  /// Throws Error with the system's own words when the file cannot be opened or mapped.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  /// All of it, as long as it was when it was opened; empty for an empty file.  Replacing the file under its name does not
  /// touch what is mapped; cutting it short in place ends whoever reads beyond its new end by SIGBUS.
  std::span<const std::byte> bytes() const { return bytes_; }

  /// Asks the system to read [begin, begin + size) from the disk in the background, where it is not in memory yet.
  void will_need(int64_t begin, int64_t size) const;

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace tessera
