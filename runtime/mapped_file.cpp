#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/error.h"

namespace tessera {

MappedFile::MappedFile(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  TESSERA_CHECK(file >= 0, "mapped file: cannot open ", path, ": ", std::strerror(errno));
  struct stat status {};
  void* begin = nullptr;
  bool mapped = ::fstat(file, &status) == 0;
  const auto size = static_cast<size_t>(status.st_size);
  if (mapped && size > 0) {
    begin = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
    mapped = begin != MAP_FAILED;
  }
  const int failure = errno;
  ::close(file);
  TESSERA_CHECK(mapped, "mapped file: cannot map ", path, ": ", std::strerror(failure));
  bytes_ = {static_cast<const std::byte*>(begin), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::will_need(int64_t begin, int64_t size) const {
  static const int64_t page = ::sysconf(_SC_PAGESIZE);
  const int64_t first = begin / page * page;
  // Advice: when it is refused, the pages are read when they are touched.
  ::madvise(const_cast<std::byte*>(bytes_.data()) + first, static_cast<size_t>(begin + size - first),
            MADV_WILLNEED);
}

}  // namespace tessera
