#pragma once
// A file system of its own below a folder, as long as it lives.

#include <sys/mount.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "runtime/error.h"

namespace tessera {

class TinyDisk {
 public:
  TinyDisk(const std::string& path, int64_t kilobytes) : path_(path) {
    std::filesystem::create_directories(path);
    if (::mount("tmpfs", path.c_str(), "tmpfs", 0, str("size=", kilobytes, "k").c_str()) != 0)
      failure_ = std::strerror(errno);
  }
  ~TinyDisk() {
    if (failure_.empty()) ::umount2(path_.c_str(), MNT_DETACH);
  }
  TinyDisk(const TinyDisk&) = delete;
  TinyDisk& operator=(const TinyDisk&) = delete;

  const std::string& path() const { return path_; }
  const std::string& failure() const { return failure_; }  ///< empty: it is there
  int64_t available() const { return static_cast<int64_t>(std::filesystem::space(path_).available); }
  /// Leaves that many bytes.
  void fill_up_to(int64_t bytes) const {
    std::filesystem::remove(path_ + "/filling");
    std::ofstream out(path_ + "/filling", std::ios::binary);
    const std::string page(4096, 'x');
    for (int64_t left = available() - bytes; left > 0; left -= std::ssize(page)) out << page;
  }
  /// From now on nothing can be written, or everything can again.
  void refuse_writing() const { remount(MS_RDONLY); }
  void allow_writing() const { remount(0); }

 private:
  void remount(unsigned long flags) const {
    TESSERA_CHECK(::mount(nullptr, path_.c_str(), nullptr, MS_REMOUNT | flags, nullptr) == 0, path_,
                  ": cannot be mounted anew: ", std::strerror(errno));
  }

  std::string path_, failure_;
};

}  // namespace tessera
