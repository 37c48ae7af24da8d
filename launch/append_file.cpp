#include "launch/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "runtime/error.h"

namespace tessera {

AppendFile::AppendFile(std::string path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  TESSERA_CHECK(descriptor_ >= 0, path_, ": cannot be opened for writing: ", std::strerror(errno));
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::append(std::string_view record) {
  while (!record.empty()) {
    const ssize_t written = ::write(descriptor_, record.data(), record.size());
    if (written < 0 && errno == EINTR) continue;
    TESSERA_CHECK(written >= 0, path_, ": cannot be written: ", std::strerror(errno));
    record.remove_prefix(static_cast<size_t>(written));
  }
}

void replace_file(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp";
  {
    std::ofstream out(temporary, std::ios::binary);
    out << text;
    out.close();
    TESSERA_CHECK(out, path, ": cannot be written: ", std::strerror(errno));
  }
  TESSERA_CHECK(std::rename(temporary.c_str(), path.c_str()) == 0, path,
                ": cannot be written: ", std::strerror(errno));
}

}  // namespace tessera
