#pragma once
// A folder that lives as long as one test, and the message of an error.

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "runtime/error.h"

namespace tessera {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> made{0};
    path_ = std::filesystem::temp_directory_path() / str("tessera_test_", ::getpid(), "_", made++);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  friend std::string operator/(const TemporaryFolder& folder, const std::string& name) {
    return (folder.path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

/// The message of the Error that body throws; empty when it throws none.
template <class Body>
std::string message_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

inline std::string bytes_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The bytes of every file below a folder, hidden ones too, by path from there; folders have none.
using FileTree = std::map<std::string, std::string>;
inline FileTree file_tree(const std::string& folder) {
  FileTree files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    files[std::filesystem::relative(entry.path(), folder)] =
        entry.is_directory() ? std::string() : bytes_of_file(entry.path());
  return files;
}

inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace tessera
