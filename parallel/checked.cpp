// A communicator that first compares what all ranks are about to do.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "parallel/collectives.h"
#include "parallel/forwarding.h"

namespace tessera {
namespace {

enum class Operation : int64_t { split, all_gather, all_to_all, broadcast, barrier };

const char* name_of(Operation operation) {
  constexpr const char* kNames[] = {"split", "all_gather", "all_to_all", "broadcast", "barrier"};
  return kNames[static_cast<int64_t>(operation)];
}

/// What one rank is about to do, as it travels.
struct Call {
  Operation operation;
  int64_t dtype = 0;
  int64_t count = 0;   ///< elements that this rank gives
  int64_t result = 0;  ///< elements that it has room for
  int64_t root = 0;
  int64_t fits = 1;  ///< 0: an all_to_all whose counts and tensors do not belong together
};

/// What must be the same on all ranks, in words.
std::string describe(const Call& call) {
  const DType dtype{static_cast<uint8_t>(call.dtype)};
  switch (call.operation) {
    case Operation::split:
    case Operation::barrier:
      return name_of(call.operation);
    case Operation::all_to_all:
      return str("all_to_all of ", dtype, call.fits ? "" : " with counts that do not fit");
    case Operation::all_gather:
      return str("all_gather of ", call.count, " ", dtype, " into ", call.result);
    case Operation::broadcast:
      return str("broadcast of ", call.count, " ", dtype, " from rank ", call.root);
  }
  throw Error("checked: another rank sent an unknown operation");
}

int64_t number_of(DType dtype) { return static_cast<int64_t>(dtype); }

template <class Check>
bool throws(const Check& check) {
  try {
    check();
    return false;
  } catch (const Error&) {
    return true;
  }
}

class Checked final : public Forwarding {
 public:
  using Forwarding::Forwarding;

  std::unique_ptr<Communicator> split(int color, int key) override {
    agree({.operation = Operation::split});
    return std::make_unique<Checked>(inner_.split(color, key));
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream after) override {
    agree({.operation = Operation::all_gather,
           .dtype = number_of(part.dtype()),
           .count = part.count(),
           .result = whole.count()});
    return inner_.all_gather(std::move(part), std::move(whole), after);
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream after) override {
    auto check = [&] { check_all_to_all(send, send_counts, receive, receive_counts, size()); };
    agree({.operation = Operation::all_to_all, .dtype = number_of(send.dtype()), .fits = !throws(check)});
    check();  // the answer is the same on all ranks now
    agree_on_counts(send.dtype(), send_counts, receive_counts);
    return inner_.all_to_all(std::move(send), send_counts, std::move(receive), receive_counts, after);
  }

  void broadcast(Tensor data, int root) override {
    agree({.operation = Operation::broadcast,
           .dtype = number_of(data.dtype()),
           .count = data.count(),
           .root = root});
    inner_.broadcast(std::move(data), root);
  }

  void barrier() override {
    agree({.operation = Operation::barrier});
    inner_.barrier();
  }

 private:
  void agree(const Call& call) {
    const std::vector<std::byte> calls = all_gather_bytes(inner_, std::as_bytes(std::span(&call, 1)));
    std::map<std::string, std::string> ranks_of;
    for (int rank = 0; rank < size(); ++rank) {
      Call theirs = call;
      std::memcpy(&theirs, calls.data() + static_cast<size_t>(rank) * sizeof theirs, sizeof theirs);
      std::string& ranks = ranks_of[describe(theirs)];
      ranks += str(ranks.empty() ? "" : ", ", rank);
    }
    if (ranks_of.size() == 1) return;
    std::string message = "collectives differ:";
    for (const auto& [what, ranks] : ranks_of)
      message += str(ranks_of.begin()->first == what ? " " : "; ", what, " on rank",
                     ranks.size() > 1 ? "s " : " ", ranks);
    throw Error(message);
  }

  /// Rank s must send rank r as many elements as r expects from s.
  void agree_on_counts(DType dtype, std::span<const int64_t> send_counts,
                       std::span<const int64_t> receive_counts) {
    std::vector<int64_t> own(send_counts.begin(), send_counts.end());
    own.insert(own.end(), receive_counts.begin(), receive_counts.end());
    const std::vector<std::byte> bytes = all_gather_bytes(inner_, std::as_bytes(std::span(own)));
    auto count = [&](int rank, int entry) {
      int64_t value = 0;
      std::memcpy(&value, bytes.data() + sizeof value * static_cast<size_t>(2 * size() * rank + entry),
                  sizeof value);
      return value;
    };
    for (int sender = 0; sender < size(); ++sender) {
      for (int receiver = 0; receiver < size(); ++receiver) {
        const int64_t sent = count(sender, receiver), expected = count(receiver, size() + sender);
        TESSERA_CHECK(sent == expected, "all_to_all of ", dtype, ": rank ", sender, " sends ", sent,
                      " elements to rank ", receiver, ", which expects ", expected);
      }
    }
  }
};

}  // namespace

std::unique_ptr<Communicator> checked(Communicator& inner) { return std::make_unique<Checked>(inner); }

}  // namespace tessera
