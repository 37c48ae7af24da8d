#pragma once
// Inside the doctor: what a check says, and the checks by subject.  All but own_facts() run on rank 0.

#include <string>
#include <vector>

#include "launch/placement.h"

namespace tessera {

enum class Verdict { ok, warn, fail };

struct Check {
  std::string name;
  Verdict verdict = Verdict::ok;
  std::string found;
  std::string advice{};  ///< what to do; empty when nothing
};

/// What one rank knows and the others do not.
struct RankFacts {
  RankPlace place;
  std::string isa;
  int64_t online_cores = 0;     ///< of its machine
  int64_t gpus = 0;             ///< that it sees
  std::string blocked_signals;  ///< of those that ask a run to stop
  std::string folder;           ///< what it does not see in the folder; empty when all is well
  std::string mapping;          ///< why it cannot write through a mapped file there; empty when it can
  double clock = 0;             ///< seconds since 1970, taken by all ranks at once

  auto fields() {
    return std::tuple{Field{"place", place},
                      Field{"isa", isa},
                      Field{"online_cores", online_cores},
                      Field{"gpus", gpus},
                      Field{"blocked_signals", blocked_signals},
                      Field{"folder", folder},
                      Field{"mapping", mapping},
                      Field{"clock", clock}};
  }
};

using AllFacts = std::vector<RankFacts>;  ///< by rank

/// The value of a variable, empty when it is not set.
std::string environment(const char* name);
/// "1 rank", "2 ranks".
std::string counted(int64_t count, const std::string& thing);

Check check_mpi();
Check check_launcher(int ranks);
Check check_pmix();
Check check_ranks(const AllFacts& ranks);
Check check_binding(const AllFacts& ranks);
Check check_signals(const AllFacts& ranks);
Check check_gpus(const AllFacts& ranks);
Check check_clock(const AllFacts& ranks);

/// A folder that is tried out: rank 0 writes into it, replaces what it wrote, and every rank looks.
class FolderTrial {
 public:
  /// Collective.  Makes the folder when it is missing.
  FolderTrial(const std::string& directory, Communicator& communicator);
  ~FolderTrial();
  FolderTrial(const FolderTrial&) = delete;
  FolderTrial& operator=(const FolderTrial&) = delete;

  /// Of this rank, for RankFacts.
  std::string unseen() const;
  std::string mapping_problem() const;

  /// On rank 0: whether files can be written and renamed, how the file system keeps them, and who sees them.
  std::vector<Check> checks(const AllFacts& ranks) const;

 private:
  void write_probe();
  std::string path(const std::string& name) const;

  std::string directory_;
  bool leads_;
  int rank_;
  std::string problem_;  ///< rank 0
  double written_ms_ = 0;
};

}  // namespace tessera
