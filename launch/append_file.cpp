#include "launch/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/error.h"

namespace tessera {

AppendFile::AppendFile(std::string path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  TESSERA_CHECK(descriptor_ >= 0, path_, ": cannot be opened for writing: ", std::strerror(errno));
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::append(std::string_view record) {
  const off_t end = ::lseek(descriptor_, 0, SEEK_END);
  while (!record.empty()) {
    const ssize_t written = ::write(descriptor_, record.data(), record.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const std::string reason = std::strerror(errno);
      // Where even that fails, readers drop the half record (read_metrics).
      [[maybe_unused]] const int cut = ::ftruncate(descriptor_, end);
      throw Error(str(path_, ": cannot be written: ", reason));
    }
    record.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace tessera
