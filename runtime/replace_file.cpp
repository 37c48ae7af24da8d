#include "runtime/replace_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "runtime/error.h"

namespace tessera {

void replace_file(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp";
  errno = 0;
  bool written = false;
  {
    std::ofstream out(temporary, std::ios::binary);
    out << text;
    out.close();
    written = out.good();
  }
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0) return;
  const std::string reason = std::strerror(errno);
  std::remove(temporary.c_str());
  throw Error(str(path, ": cannot be written: ", reason));
}

}  // namespace tessera
