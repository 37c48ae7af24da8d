// What the doctor says of the folder that runs will be written to.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "launch/doctor_checks.h"
#include "launch/format.h"
#include "runtime/error.h"
#include "runtime/replace_file.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr double kGiB = 1024.0 * 1024 * 1024;

/// A mebibyte, of x at first and of y when it is replaced.
std::string probe_content(char byte) { return std::string(1 << 20, byte); }

/// Of a call that has just failed.
std::string system_reason(const char* call) { return str(call, ": ", std::strerror(errno)); }

std::string file_system_of(const std::string& directory) {
  // statfs(2), and the kernel headers of Lustre, GPFS and BeeGFS.
  static const std::map<uint32_t, std::string> kNames{
      {0xef53, "ext4"},        {0x58465342, "XFS"},    {0x9123683e, "Btrfs"}, {0x01021994, "tmpfs (memory)"},
      {0x794c7630, "overlay"}, {0x2fc12fc1, "ZFS"},    {0x6969, "NFS"},       {0xff534d42, "CIFS"},
      {0xfe534d42, "SMB"},     {0x0bd00bd0, "Lustre"}, {0x47504653, "GPFS"},  {0x19830326, "BeeGFS"},
      {0x00c36400, "Ceph"},    {0x65735546, "FUSE"},   {0x01021997, "9p"}};
  struct statfs status = {};
  if (::statfs(directory.c_str(), &status) != 0) return system_reason("statfs");
  const auto found = kNames.find(static_cast<uint32_t>(status.f_type));
  return found == kNames.end() ? "a kind that is not known" : found->second;
}

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Milliseconds until a file's bytes and name are on the disk.
double write_through(const std::string& path) {
  const auto began = std::chrono::steady_clock::now();
  for (const std::string& place : {path, fs::path(path).parent_path().string()}) {
    const int file = ::open(place.c_str(), O_RDONLY | O_CLOEXEC);
    TESSERA_CHECK(file >= 0, place, ": ", system_reason("open"));
    const bool kept = ::fsync(file) == 0;
    const std::string reason = kept ? "" : system_reason("fsync");
    ::close(file);
    TESSERA_CHECK(kept, place, ": ", reason);
  }
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
}

/// Why a byte written through a shared mapping does not arrive in the file; empty when it does.
std::string try_mapping(int file) {
  constexpr size_t kPage = 4096;
  if (::ftruncate(file, kPage) != 0) return system_reason("ftruncate");
  void* page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) return system_reason("mmap");
  *static_cast<char*>(page) = 'z';
  const std::string synced = ::msync(page, kPage, MS_SYNC) == 0 ? "" : system_reason("msync");
  ::munmap(page, kPage);
  char read = 0;
  if (!synced.empty()) return synced;
  if (::pread(file, &read, 1, 0) != 1) return system_reason("pread");
  return read == 'z' ? "" : "what is written through a mapping does not arrive";
}

/// "3 (h2), 5 (h2)" of the ranks whose text is not empty.
std::string list_of(const AllFacts& ranks, std::string RankFacts::*text) {
  std::string list;
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    if (!(ranks[rank].*text).empty())
      list += str(list.empty() ? "" : ", ", rank, " (", ranks[rank].place.host, ")");
  return list;
}

Check check_shared(const AllFacts& ranks) {
  const std::string blind = list_of(ranks, &RankFacts::folder);
  if (blind.empty()) return {"shared", Verdict::ok, "every rank sees what rank 0 writes and replaces there"};
  std::set<std::string> reasons;
  for (const RankFacts& rank : ranks)
    if (!rank.folder.empty()) reasons.insert(rank.folder);
  std::string found;
  for (const std::string& reason : reasons) found += reason + ", ";
  return {"shared", Verdict::fail, found + "at rank " + blind,
          "choose a folder on a file system that all machines share, mounted without caching of attributes"};
}

}  // namespace

FolderTrial::FolderTrial(const std::string& directory, Communicator& communicator)
    : directory_(directory), leads_(communicator.rank() == 0), rank_(communicator.rank()) {
  if (leads_) {
    try {
      write_probe();
    } catch (const std::exception& error) {
      problem_ = error.what();
    }
  }
  communicator.barrier();
  // Whoever has seen the first content may keep it in a cache.
  (void)content(path("probe"));
  communicator.barrier();
  if (leads_ && problem_.empty()) {
    try {
      replace_file(path("probe"), probe_content('y'));
    } catch (const std::exception& error) {
      problem_ = error.what();
    }
  }
  communicator.barrier();
}

FolderTrial::~FolderTrial() {
  std::error_code ignored;  // a probe that cannot be removed harms nobody
  if (leads_) fs::remove(path("probe"), ignored);
}

void FolderTrial::write_probe() {
  fs::create_directories(directory_);
  replace_file(path("probe"), probe_content('x'));
  written_ms_ = write_through(path("probe"));
}

std::string FolderTrial::path(const std::string& name) const {
  return (fs::path(directory_) / (".tessera_doctor_" + name)).string();
}

std::string FolderTrial::unseen() const {
  const std::string seen = content(path("probe"));
  if (seen == probe_content('y')) return "";
  return seen == probe_content('x') ? "replaced file still has its old content" : "file is not seen";
}

std::string FolderTrial::mapping_problem() const {
  const std::string own = path(std::to_string(rank_));
  const int file = ::open(own.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return system_reason("open");
  const std::string problem = try_mapping(file);
  ::close(file);
  ::unlink(own.c_str());
  return problem;
}

std::vector<Check> FolderTrial::checks(const AllFacts& ranks) const {
  constexpr double kLittle = 5 * kGiB;
  constexpr double kSlow = 1000;  // milliseconds for a mebibyte
  if (!problem_.empty())
    return {
        {"folder", Verdict::fail, problem_, "choose a folder that you may write to, on a disk with room"}};
  Check folder{"folder", Verdict::ok, directory_ + ": writable, files can be renamed"};
  std::error_code error;
  const fs::space_info space = fs::space(directory_, error);
  if (!error) {
    folder.found += ", " + format_bytes(static_cast<double>(space.available)) + " free";
    if (static_cast<double>(space.available) < kLittle) {
      folder.verdict = Verdict::warn;
      folder.advice = "make room: a checkpoint is 12 bytes per parameter";
    }
  }

  Check system{
      "file system", Verdict::ok,
      str(file_system_of(directory_), ", 1 MiB reaches the disk in ", format_fixed(written_ms_, 1), " ms")};
  const std::string unmapped = list_of(ranks, &RankFacts::mapping);
  if (!unmapped.empty()) {
    system.verdict = Verdict::warn;
    system.found += str(", files cannot be mapped by rank ", unmapped);
    system.advice = "choose a file system with shared mappings";
  } else if (written_ms_ > kSlow) {
    system.verdict = Verdict::warn;
    system.advice = "choose a faster one, or save less often";
  } else {
    system.found += ", files can be mapped";
  }
  return {folder, system, check_shared(ranks)};
}

}  // namespace tessera
