// Ranks as threads of one process.  A collective has two meetings: at the first every rank has posted where its data lies,
// between them ranks copy straight from their peers' buffers, and after the second the buffers are free again.
#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "parallel/collectives.h"
#include "runtime/log.h"

namespace tessera {
namespace {

/// What all groups of one run_ranks() share.  One lock serves every group, so that a failure reaches all who wait.
struct World {
  explicit World(int count) : returned(static_cast<size_t>(count)) {}

  void fail(std::exception_ptr reason) {
    std::lock_guard hold(lock);
    if (!failure) failure = std::move(reason);
    changed.notify_all();
  }
  void leave(int rank) {
    std::lock_guard hold(lock);
    returned[static_cast<size_t>(rank)] = true;
    changed.notify_all();
  }

  std::mutex lock;
  std::condition_variable changed;
  std::exception_ptr failure;  ///< guarded by lock; the first one
  std::vector<bool> returned;  ///< guarded by lock; ranks whose body has ended
};

struct Group;

/// What a rank shows to its peers between the two meetings.
struct Post {
  const Tensor* tensor = nullptr;
  std::span<const int64_t> counts{};
  int color = 0, key = 0;
  std::shared_ptr<Group> child{};
};

struct Group {
  Group(std::shared_ptr<World> owner, std::vector<int> ranks)
      : world(std::move(owner)), members(std::move(ranks)), posts(members.size()) {}

  /// Returns when all members have arrived.  Throws Error when that cannot happen any more.
  void arrive() {
    std::unique_lock hold(world->lock);
    check_complete();
    const uint64_t current = meeting;
    count_in();
    world->changed.wait(hold,
                        [this, current] { return meeting != current || world->failure || incomplete(); });
    if (meeting == current) check_complete();
  }

  /// Like arrive() for those who arrived together: each is sure to come, so that no buffer is freed while another rank
  /// still reads it, even when some rank fails meanwhile.
  void depart() {
    std::unique_lock hold(world->lock);
    const uint64_t current = meeting;
    count_in();
    world->changed.wait(hold, [this, current] { return meeting != current; });
  }

  const std::shared_ptr<World> world;
  const std::vector<int> members;  ///< ranks of the world
  std::vector<Post> posts;         ///< each written by its rank before arrive(), read by all until depart()

 private:
  bool incomplete() const {
    return std::any_of(members.begin(), members.end(),
                       [this](int rank) { return world->returned[static_cast<size_t>(rank)]; });
  }
  void check_complete() const {
    TESSERA_CHECK(!world->failure, "collective: released, another rank has failed");
    TESSERA_CHECK(!incomplete(), "collective: another rank of the group has ended and will not take part");
  }
  void count_in() {
    if (++arrived < members.size()) return;
    arrived = 0;
    ++meeting;
    world->changed.notify_all();
  }

  size_t arrived = 0;    ///< guarded by world->lock
  uint64_t meeting = 0;  ///< guarded by world->lock
};

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->members.size()); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    check_split(color);
    std::vector<int> chosen;  // ranks of this group with this color, in their new order
    exchange({.color = color, .key = key}, [this, &chosen, color] {
      for (int rank = 0; rank < size(); ++rank)
        if (post(rank).color == color) chosen.push_back(rank);
      std::stable_sort(chosen.begin(), chosen.end(),
                       [this](int a, int b) { return post(a).key < post(b).key; });
    });
    std::shared_ptr<Group> child;
    if (chosen.front() == rank_) {
      std::vector<int> members;
      for (int rank : chosen) members.push_back(group_->members[static_cast<size_t>(rank)]);
      child = std::make_shared<Group>(group_->world, std::move(members));
    }
    exchange({.child = child}, [this, &child, &chosen] { child = post(chosen.front()).child; });
    group_->posts[static_cast<size_t>(rank_)] = {};
    const auto place = std::find(chosen.begin(), chosen.end(), rank_) - chosen.begin();
    return std::make_unique<LocalCommunicator>(child, static_cast<int>(place));
  }

  Pending<Tensor> all_gather(Tensor part, Tensor whole, Stream) override {
    check_all_gather(part, whole, size());
    exchange({.tensor = &part}, [this, &part, &whole] {
      for (int rank = 0; rank < size(); ++rank) {
        const Tensor& theirs = *post(rank).tensor;
        TESSERA_CHECK(theirs.count() == part.count() && theirs.dtype() == part.dtype(), "all_gather: rank ",
                      rank, " gives ", theirs.count(), " ", theirs.dtype(), ", rank ", rank_, " gives ",
                      part.count(), " ", part.dtype());
        copy(theirs, whole.slice(rank * part.count(), {part.count()}));
      }
    });
    return {whole, [part](Stream) {}};  // kept until then, as by other communicators
  }

  Pending<Tensor> all_to_all(Tensor send, std::span<const int64_t> send_counts, Tensor receive,
                             std::span<const int64_t> receive_counts, Stream) override {
    check_all_to_all(send, send_counts, receive, receive_counts, size());
    exchange({.tensor = &send, .counts = send_counts}, [this, &receive, receive_counts] {
      int64_t begin = 0;
      for (int rank = 0; rank < size(); ++rank) {
        const int64_t count = receive_counts[static_cast<size_t>(rank)];
        copy(sent_by(rank, count, receive.dtype()), receive.slice(begin, {count}));
        begin += count;
      }
    });
    return {receive, [send](Stream) {}};
  }

  void broadcast(Tensor data, int root) override {
    check_broadcast(root, size());
    exchange({.tensor = &data}, [this, &data, root] {
      const Tensor& source = *post(root).tensor;
      TESSERA_CHECK(source.count() == data.count() && source.dtype() == data.dtype(), "broadcast: rank ",
                    root, " gives ", source.count(), " ", source.dtype(), ", rank ", rank_, " takes ",
                    data.count(), " ", data.dtype());
      if (root != rank_) copy(source, data);
    });
  }

  void barrier() override { group_->arrive(); }

 private:
  const Post& post(int rank) const { return group_->posts[static_cast<size_t>(rank)]; }

  template <class Action>
  void exchange(Post mine, const Action& action) {
    group_->posts[static_cast<size_t>(rank_)] = std::move(mine);
    group_->arrive();
    std::exception_ptr failure;
    try {
      action();
    } catch (...) {
      failure = std::current_exception();
    }
    group_->depart();
    if (failure) std::rethrow_exception(failure);
  }

  /// The elements that rank sends to this one.
  Tensor sent_by(int rank, int64_t expected, DType dtype) const {
    const auto [tensor, counts] = std::pair(post(rank).tensor, post(rank).counts);
    int64_t begin = 0;
    for (int before = 0; before < rank_; ++before) begin += counts[static_cast<size_t>(before)];
    const int64_t count = counts[static_cast<size_t>(rank_)];
    TESSERA_CHECK(count == expected && tensor->dtype() == dtype, "all_to_all: rank ", rank, " sends ", count,
                  " ", tensor->dtype(), " to rank ", rank_, ", which expects ", expected, " ", dtype);
    return tensor->slice(begin, {count});
  }

  std::shared_ptr<Group> group_;
  int rank_;
};

}  // namespace

std::unique_ptr<Communicator> solo_communicator() {
  const auto group = std::make_shared<Group>(std::make_shared<World>(1), std::vector<int>{0});
  return std::make_unique<LocalCommunicator>(group, 0);
}

void run_ranks(int count, const std::function<void(Communicator& world)>& body) {
  TESSERA_CHECK(count >= 1, "run_ranks: count must be at least 1, got ", count);
  const auto world = std::make_shared<World>(count);
  std::vector<int> members;
  for (int rank = 0; rank < count; ++rank) members.push_back(rank);
  const auto group = std::make_shared<Group>(world, std::move(members));
  auto run = [&world, &group, &body, count](int rank) {
    if (count > 1) set_log_prefix(str("rank ", rank, ": "));
    try {
      LocalCommunicator communicator(group, rank);
      body(communicator);
    } catch (...) {
      world->fail(std::current_exception());
    }
    world->leave(rank);
  };
  {
    std::vector<std::jthread> threads;  // joined at the end of this scope
    try {
      for (int rank = 0; rank < count; ++rank) threads.emplace_back(run, rank);
    } catch (...) {
      world->fail(std::current_exception());  // releases the ranks that did start
    }
  }
  if (world->failure) std::rethrow_exception(world->failure);
}

}  // namespace tessera
