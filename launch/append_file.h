#pragma once
// Files that others read while they are written.  A file that only grows: every record is one write, so
// that a reader, or a run that was killed, never meets two halves of different records.

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
  /// In the system's hands when it returns.  Throws Error with the system's own words when it fails
  /// (full disk).
  void append(std::string_view record);

 private:
  std::string path_;
  int descriptor_;
};

/// Writes path.tmp and renames it, so that a reader never sees half a file.  Throws Error when that
/// fails; what was there before stays then.
void replace_file(const std::string& path, std::string_view text);

}  // namespace tessera
