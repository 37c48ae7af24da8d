// The program with places to die at: linked into `tessera_faulty` in front of functions that the program calls in every phase
// of a step and of a save (the linker's --wrap, see tests/CMakeLists.txt).  The program itself has nothing of this.
//
//   TESSERA_FAULT=count:FOLDER                        writes FOLDER/RANK at the end: a line "phase count" for each phase
//   TESSERA_FAULT=kill:FOLDER:RANK:PHASE:NUMBER       before the NUMBER-th point (from 1) of a phase on a rank, writes FOLDER/hit
//                                                     and dies of SIGKILL
//
//   phase      a point is before
//   forward    each use of a parameter
//   backward   each gradient of a parameter
//   optimizer  each range that is updated
//   write      each part of a dataset that goes to a checkpoint
//   sync       each file of a checkpoint that is brought to the disk
//   checksum   each file that is read back for its checksum
//   publish    each rename of a checkpoint folder to its name
//   remove     each old checkpoint that is removed

#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "kernels/adamw.h"
#include "runtime/hdf5.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

enum Phase : size_t { kForward, kBackward, kOptimizer, kWrite, kSync, kChecksum, kPublish, kRemove, kPhases };
constexpr std::array<const char*, kPhases> kNames{"forward", "backward", "optimizer", "write",
                                                  "sync",    "checksum", "publish",   "remove"};

/// What the environment asks for.
class Faults {
 public:
  Faults() {
    const char *asked = std::getenv("TESSERA_FAULT"), *rank = std::getenv("OMPI_COMM_WORLD_RANK");
    rank_ = rank ? rank : "0";
    std::istringstream in(asked ? asked : "");
    for (std::string word; std::getline(in, word, ':');) words_.push_back(word);
  }
  ~Faults() {
    if (words_.empty() || words_[0] != "count") return;
    std::ofstream out(words_[1] + "/" + rank_);
    for (size_t phase = 0; phase < kPhases; ++phase) out << kNames[phase] << " " << reached_[phase] << "\n";
  }

  void at(Phase phase) {
    const int64_t number = ++reached_[phase];
    if (words_.size() < 5 || words_[2] != rank_ || words_[3] != kNames[phase] ||
        words_[4] != std::to_string(number))
      return;
    std::ofstream(words_[1] + "/hit") << rank_ << " " << kNames[phase] << " " << number;
    ::kill(::getpid(), SIGKILL);
  }

 private:
  std::string rank_;
  std::vector<std::string> words_;
  std::array<std::atomic<int64_t>, kPhases> reached_{};
};

Faults& faults() {
  static Faults all;
  return all;
}

bool is_in_a_checkpoint(int descriptor) {
  std::array<char, PATH_MAX> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  if (::readlink(link.c_str(), path.data(), path.size() - 1) < 0) return false;
  return std::string(path.data()).find("/.step_") != std::string::npos;
}

}  // namespace

#define TESSERA_WRAPPED(symbol) __asm__("__wrap_" symbol)
#define TESSERA_REAL(symbol) __asm__("__real_" symbol)

Var real_leaf(Tape*, Parameter&) TESSERA_REAL("_ZN7tessera4Tape4leafERNS_9ParameterE");
Var wrapped_leaf(Tape*, Parameter&) TESSERA_WRAPPED("_ZN7tessera4Tape4leafERNS_9ParameterE");
Var wrapped_leaf(Tape* tape, Parameter& parameter) {
  faults().at(kForward);
  return real_leaf(tape, parameter);
}

void real_add_grad(Parameter*, const Tensor&) TESSERA_REAL("_ZN7tessera9Parameter8add_gradERKNS_6TensorE");
void wrapped_add_grad(Parameter*, const Tensor&)
    TESSERA_WRAPPED("_ZN7tessera9Parameter8add_gradERKNS_6TensorE");
void wrapped_add_grad(Parameter* parameter, const Tensor& gradient) {
  faults().at(kBackward);
  real_add_grad(parameter, gradient);
}

#define TESSERA_ADAMW "_ZN7tessera7kernels5adamwERKNS_6TensorES3_S3_S3_S3_NS0_12AdamWOptionsENS_6StreamE"
void real_adamw(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                kernels::AdamWOptions, Stream) TESSERA_REAL(TESSERA_ADAMW);
void wrapped_adamw(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                   kernels::AdamWOptions, Stream) TESSERA_WRAPPED(TESSERA_ADAMW);
void wrapped_adamw(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second,
                   const Tensor& rounded, kernels::AdamWOptions options, Stream stream) {
  faults().at(kOptimizer);
  real_adamw(value, grad, first, second, rounded, options, stream);
}

#define TESSERA_TRANSFER "_ZNK7tessera4hdf57Dataset8transferENS1_9DirectionENS0_7ElementEllPv"
void real_transfer(const hdf5::Dataset*, uint8_t, hdf5::Element, int64_t, int64_t, void*)
    TESSERA_REAL(TESSERA_TRANSFER);
void wrapped_transfer(const hdf5::Dataset*, uint8_t, hdf5::Element, int64_t, int64_t, void*)
    TESSERA_WRAPPED(TESSERA_TRANSFER);
void wrapped_transfer(const hdf5::Dataset* dataset, uint8_t direction, hdf5::Element element, int64_t begin,
                      int64_t count, void* values) {
  if (direction == 1) faults().at(kWrite);
  real_transfer(dataset, direction, element, begin, count, values);
}

int real_fsync(int) TESSERA_REAL("fsync");
int wrapped_fsync(int) TESSERA_WRAPPED("fsync");
int wrapped_fsync(int descriptor) {
  if (is_in_a_checkpoint(descriptor)) faults().at(kSync);
  return real_fsync(descriptor);
}

int real_reset(void*) TESSERA_REAL("XXH3_64bits_reset");
int wrapped_reset(void*) TESSERA_WRAPPED("XXH3_64bits_reset");
int wrapped_reset(void* state) {
  faults().at(kChecksum);
  return real_reset(state);
}

#define TESSERA_RENAME "_ZNSt10filesystem6renameERKNS_7__cxx114pathES3_"
void real_rename(const fs::path&, const fs::path&) TESSERA_REAL(TESSERA_RENAME);
void wrapped_rename(const fs::path&, const fs::path&) TESSERA_WRAPPED(TESSERA_RENAME);
void wrapped_rename(const fs::path& from, const fs::path& to) {
  if (from.extension() == ".making") faults().at(kPublish);
  if (to.extension() == ".removed") faults().at(kRemove);
  real_rename(from, to);
}

}  // namespace tessera
