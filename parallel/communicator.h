#pragma once
// Ranks, and the ways in which they exchange data.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/pending.h"
#include "runtime/tensor.h"
#include "runtime/trace.h"

namespace tessera {

/// A group of ranks that issue the same collectives in the same order.  Communicators move bytes: no floating-point sum
/// is left to MPI or NCCL, since its order would depend on the ranks (parallel/canonical_sum.h is the only adder).
/// Every rank of a collective must pass the same dtypes and matching counts; each throws Error naming the collective
/// when the shapes at hand do not fit.  Send buffers must not be written before wait().
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Ranks with equal color form a group, ordered by key, then rank.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  /// part [n] -> whole [size * n], in rank order.
  virtual Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) = 0;

  /// send holds send_counts[r] elements for rank r, end to end; receive gets receive_counts[r] elements from rank r, end to
  /// end in rank order.  Counts are known to both sides beforehand and may be 0.
  virtual Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                                     std::span<const int64_t> receive_counts, Stream after) = 0;

  /// data of root on every rank.
  virtual void broadcast(Tensor data, int root) = 0;
  virtual void barrier() = 0;

  /// From now on what this group and those that share its process have under way goes on while the thread computes, also where
  /// that takes a thread of its own, which the last of these groups joins.  Throws Error when MPI was initialised for fewer
  /// threads.
  virtual void progress_in_background() {}

  /// What the collectives that follow are for, in words for people: "gather blocks.3.attention".  Holds until the next call;
  /// empty: nothing in particular.  Costs nothing unless a decorator records it.
  virtual void about(const std::string& purpose) { static_cast<void>(purpose); }
};

/// Says what the collectives in its lifetime are for.
class [[nodiscard]] About {
 public:
  About(Communicator& communicator, const std::string& purpose) : communicator_(communicator) {
    communicator_.about(purpose);
  }
  ~About() { communicator_.about(""); }
  About(const About&) = delete;
  About& operator=(const About&) = delete;

 private:
  Communicator& communicator_;
};

/// The same number of host values from every rank, in rank order.  For scalars: blocking.
std::vector<double> all_gather_values(Communicator& communicator, std::span<const double> values);
std::vector<std::string> all_gather_strings(Communicator& communicator, const std::string& text);

/// Runs body on count threads of this process, one rank each.  When a rank throws, the others are released from whatever
/// collective they wait in (with an Error), and the first failure is rethrown.
void run_ranks(int count, const std::function<void(Communicator& world)>& body);

/// A group of one rank, for what a thread does by itself.
std::unique_ptr<Communicator> solo_communicator();

/// The ranks of MPI_COMM_WORLD; MPI must be initialised and outlive it.
std::unique_ptr<Communicator> mpi_world();

/// The same ranks, each with a GPU: tensors on cuda travel over NCCL on a stream of their own, host tensors over host, which
/// must outlive it.  Collective.  The calling thread must have chosen the device.  Throws Error in builds without NCCL.
std::unique_ptr<Communicator> nccl_communicator(Communicator& host, Device device);

/// "2.28.9", or "none" in builds without NCCL.
std::string nccl_version();

/// Before each collective all ranks exchange what they are about to do (operation, dtype, counts); an Error on every
/// rank names the ranks that differ, where otherwise the program would hang or mix up data.
std::unique_ptr<Communicator> checked(Communicator& inner);

/// Leaves in trace, which must outlive it, what this rank's thread spends in collectives ("start_collective",
/// "wait_for_collective") and, on the track of communication, each of them from its start until its wait() is over, named by what
/// it is about, else by its operation.
std::unique_ptr<Communicator> traced(Communicator& inner, Trace& trace);

}  // namespace tessera
