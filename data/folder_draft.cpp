#include "data/folder_draft.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "runtime/error.h"

namespace tessera {

namespace fs = std::filesystem;

FolderDraft::FolderDraft(std::string path) : path_(std::move(path)) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  draft_ = path_ + ".tmp";
  TESSERA_CHECK(!fs::exists(path_) || fs::is_directory(path_), "folder: ", path_, " is not a folder");
  std::error_code code;
  fs::remove_all(draft_, code);
  fs::create_directories(draft_, code);
  TESSERA_CHECK(!code, "folder: cannot make ", draft_, ": ", code.message());
}

FolderDraft::~FolderDraft() {
  std::error_code ignored;
  if (!published_) fs::remove_all(draft_, ignored);
}

void FolderDraft::publish() {
  if (const int folder = ::open(draft_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
    ::fsync(folder);  // the names of the files must be on the disk before the folder gets its own
    ::close(folder);
  }
  const auto move = [](const std::string& from, const std::string& to) {
    TESSERA_CHECK(::rename(from.c_str(), to.c_str()) == 0, "folder: cannot rename ", from, " to ", to, ": ",
                  std::strerror(errno));
  };
  if (!fs::exists(path_)) {
    move(draft_, path_);
    published_ = true;
    return;
  }
  std::string earlier = draft_;
  // The exchange leaves the earlier folder under the draft's name: at no moment is there neither of the two.  Some
  // network and layered file systems do not know it; there the earlier folder steps aside first.
  if (::renameat2(AT_FDCWD, draft_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) != 0) {
    earlier = path_ + ".old";
    move(path_, earlier);
    move(draft_, path_);
  }
  published_ = true;
  std::error_code ignored;
  fs::remove_all(earlier, ignored);
}

}  // namespace tessera
