#include "runtime/replace_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "runtime/error.h"

namespace tessera {

void replace_file(const std::string& path, std::string_view text) {
  replace_file(path, [text](std::ostream& out) { out << text; });
}

void replace_file(const std::string& path, const std::function<void(std::ostream&)>& write) {
  const std::string temporary = path + ".tmp";
  errno = 0;
  bool written = false;
  try {
    std::ofstream out(temporary, std::ios::binary);
    write(out);
    out.close();
    written = out.good();
  } catch (...) {
    std::remove(temporary.c_str());
    throw;
  }
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0) return;
  const std::string reason = std::strerror(errno);
  std::remove(temporary.c_str());
  throw Error(str(path, ": cannot be written: ", reason));
}

}  // namespace tessera
