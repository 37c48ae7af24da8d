#pragma once
// A file that only grows while others read it: every record is one write, so that a reader, or a run that was killed, never
// meets two halves of different records.

#include <string>
#include <string_view>

namespace tessera {

class AppendFile {
 public:
  /// Makes the file when it is missing.  Throws Error when it cannot be opened.
  explicit AppendFile(std::string path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  const std::string& path() const { return path_; }
  /// In the system's hands when it returns.  Throws Error with the system's own words when it fails (full disk); the file
  /// then ends where it did.
  void append(std::string_view record);

 private:
  std::string path_;
  int descriptor_;
};

}  // namespace tessera
