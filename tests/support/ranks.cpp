#include "tests/support/ranks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "runtime/cpu_engine.h"

namespace tessera {
namespace {

/// A value that tells who made it, exact in every dtype.
int tag(int from, int to, int64_t i) { return static_cast<int>((from * 31 + to * 7 + i) % 127); }

template <class T>
Tensor tagged(int from, int to, int64_t count, Stream stream) {
  Tensor tensor = Tensor::empty({count}, dtype_of<T>, stream);
  for (int64_t i = 0; i < count; ++i) tensor.data<T>()[i] = T(static_cast<float>(tag(from, to, i)));
  return tensor;
}

template <class T>
void expect_tagged(std::span<const T> values, int from, int to) {
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_EQ(static_cast<int>(static_cast<float>(values[i])), tag(from, to, static_cast<int64_t>(i)))
        << "from " << from << " to " << to << " element " << i;
}

template <class T>
void expect_all_gather(Communicator& world, Stream stream) {
  for (int64_t count : {0, 1, 7, 100'003}) {
    const Tensor part = tagged<T>(world.rank(), 0, count, stream);
    const Tensor room = Tensor::empty({count * world.size()}, dtype_of<T>, stream);
    const Tensor whole = world.all_gather(part, room, stream).wait(stream);
    for (int rank = 0; rank < world.size(); ++rank)
      expect_tagged<T>(whole.slice(rank * count, {count}).template values<T>(), rank, 0);
    expect_tagged<T>(part.template values<T>(), world.rank(), 0);
  }
}

/// How many elements go from one rank to another: uneven, none between some.
int64_t traffic(int from, int to, int64_t scale) { return (from * 3 + to * 5) % 4 * scale; }

template <class T>
struct AllToAll {
  AllToAll(Communicator& communicator, int64_t scale, Stream on) : world(communicator), stream(on) {
    for (int rank = 0; rank < world.size(); ++rank) {
      send_counts.push_back(traffic(world.rank(), rank, scale));
      receive_counts.push_back(traffic(rank, world.rank(), scale));
    }
    send = Tensor::empty({std::accumulate(send_counts.begin(), send_counts.end(), int64_t{0})}, dtype_of<T>,
                         stream);
    receive = Tensor::empty({std::accumulate(receive_counts.begin(), receive_counts.end(), int64_t{0})},
                            dtype_of<T>, stream);
    int64_t begin = 0;
    for (int rank = 0; rank < world.size(); ++rank) {
      const int64_t count = send_counts[static_cast<size_t>(rank)];
      copy(tagged<T>(world.rank(), rank, count, stream), send.slice(begin, {count}));
      begin += count;
    }
  }

  Pending<Tensor> start() { return world.all_to_all(send, send_counts, receive, receive_counts, stream); }

  void expect(const Tensor& received) const {
    int64_t begin = 0;
    for (int rank = 0; rank < world.size(); ++rank) {
      const int64_t count = receive_counts[static_cast<size_t>(rank)];
      expect_tagged<T>(received.slice(begin, {count}).template values<T>(), rank, world.rank());
      begin += count;
    }
  }

  Communicator& world;
  Stream stream;
  std::vector<int64_t> send_counts, receive_counts;
  Tensor send, receive;
};

template <class T>
void expect_all_to_all(Communicator& world, Stream stream) {
  for (int64_t scale : {0, 1, 50'000}) {
    AllToAll<T> exchange(world, scale, stream);
    exchange.expect(exchange.start().wait(stream));
  }
}

/// Several exchanges on their way at once do not mix, in whichever order they are waited for.
void expect_overlap(Communicator& world, Stream stream) {
  AllToAll<float> small(world, 3, stream), large(world, 40'000, stream);
  const Tensor part = tagged<float>(world.rank(), 1, 50, stream);
  const Tensor room = Tensor::empty({50 * world.size()}, DType::f32, stream);
  Pending<Tensor> first = small.start();
  Pending<Tensor> second = world.all_gather(part, room, stream);
  Pending<Tensor> third = large.start();
  large.expect(std::move(third).wait(stream));
  small.expect(std::move(first).wait(stream));
  const Tensor whole = std::move(second).wait(stream);
  for (int rank = 0; rank < world.size(); ++rank)
    expect_tagged<float>(whole.slice(rank * 50, {50}).values<float>(), rank, 1);
}

void expect_broadcast(Communicator& world, Stream stream) {
  for (int root = 0; root < world.size(); ++root) {
    const Tensor data = tagged<float>(world.rank(), 2, 33, stream);
    world.broadcast(data, root);
    expect_tagged<float>(data.values<float>(), root, 2);
  }
}

void expect_split(Communicator& world, Stream stream) {
  // Odd and even ranks, each in reverse order.
  const std::unique_ptr<Communicator> half = world.split(world.rank() % 2, -world.rank());
  std::vector<int> members;
  for (int rank = world.size() - 1; rank >= 0; --rank)
    if (rank % 2 == world.rank() % 2) members.push_back(rank);
  ASSERT_EQ(half->size(), static_cast<int>(members.size()));
  ASSERT_EQ(members[static_cast<size_t>(half->rank())], world.rank());
  const Tensor part = tagged<float>(world.rank(), 3, 5, stream);
  const Tensor room = Tensor::empty({5 * half->size()}, DType::f32, stream);
  const Tensor whole = half->all_gather(part, room, stream).wait(stream);
  for (int rank = 0; rank < half->size(); ++rank)
    expect_tagged<float>(whole.slice(rank * 5, {5}).values<float>(), members[static_cast<size_t>(rank)], 3);
  // Equal keys keep the order of ranks; a part can be split again.
  const std::unique_ptr<Communicator> same = half->split(0, 0);
  EXPECT_EQ(same->size(), half->size());
  EXPECT_EQ(same->rank(), half->rank());
  expect_all_to_all<float>(*same, stream);
  world.barrier();
}

void expect_host_values(Communicator& world) {
  const std::vector<double> own{world.rank() + 0.25, -0.0};
  const std::vector<double> values = all_gather_values(world, own);
  ASSERT_EQ(values.size(), 2 * static_cast<size_t>(world.size()));
  for (int rank = 0; rank < world.size(); ++rank) {
    EXPECT_EQ(values[static_cast<size_t>(2 * rank)], rank + 0.25);
    EXPECT_TRUE(std::signbit(values[static_cast<size_t>(2 * rank + 1)]));
  }
  EXPECT_TRUE(all_gather_values(world, {}).empty());

  auto text = [](int rank) {
    return std::string(static_cast<size_t>(rank * rank), 'a' + static_cast<char>(rank));
  };
  const std::vector<std::string> texts = all_gather_strings(world, text(world.rank()));
  ASSERT_EQ(static_cast<int>(texts.size()), world.size());
  for (int rank = 0; rank < world.size(); ++rank) EXPECT_EQ(texts[static_cast<size_t>(rank)], text(rank));
}

/// A tensor without storage takes part in everything and moves nothing.
void expect_meta(Communicator& world) {
  const Stream meta = Stream::meta();
  const Tensor part = Tensor::empty({int64_t{1} << 40}, DType::f32, meta);
  const Tensor room = Tensor::empty({world.size() * part.count()}, DType::f32, meta);
  EXPECT_EQ(world.all_gather(part, room, meta).wait(meta).count(), room.count());
  world.broadcast(part, 0);
}

void expect_refusals(Communicator& world, Stream stream) {
  const Tensor four = Tensor::zeros({4}, DType::f32, stream);
  const auto ranks = static_cast<size_t>(world.size());
  EXPECT_THROW((void)world.all_gather(four, Tensor::zeros({5 * world.size()}, DType::f32, stream), stream),
               Error);
  EXPECT_THROW((void)world.all_gather(four, Tensor::zeros({4 * world.size()}, DType::i32, stream), stream),
               Error);
  const std::vector<int64_t> none(ranks, 0), short_by_one(ranks - 1, 0);
  std::vector<int64_t> negative(ranks, 0);
  negative.back() = -1;
  const Tensor empty = Tensor::zeros({0}, DType::f32, stream);
  EXPECT_THROW((void)world.all_to_all(four, none, empty, none, stream), Error);
  EXPECT_THROW((void)world.all_to_all(empty, none, four, none, stream), Error);
  EXPECT_THROW((void)world.all_to_all(empty, short_by_one, empty, none, stream), Error);
  EXPECT_THROW((void)world.all_to_all(empty, none, empty, negative, stream), Error);
  EXPECT_THROW((void)world.all_to_all(empty, none, Tensor::zeros({0}, DType::u8, stream), none, stream),
               Error);
  EXPECT_THROW(world.broadcast(four, world.size()), Error);
  EXPECT_THROW(world.broadcast(four, -1), Error);
  EXPECT_THROW((void)world.split(-1, 0), Error);
}

}  // namespace

void expect_communicator(Communicator& world) {
  CpuEngine engine;
  const Stream stream = engine.stream();
  expect_all_gather<float>(world, stream);
  expect_all_gather<bf16>(world, stream);
  expect_all_gather<int32_t>(world, stream);
  expect_all_gather<uint8_t>(world, stream);
  expect_all_to_all<float>(world, stream);
  expect_all_to_all<bf16>(world, stream);
  expect_overlap(world, stream);
  expect_broadcast(world, stream);
  expect_split(world, stream);
  expect_host_values(world);
  expect_meta(world);
  expect_refusals(world, stream);
  world.barrier();
}

void expect_long_messages(Communicator& world) {
  CpuEngine engine;
  const Stream stream = engine.stream();
  const int64_t count = (int64_t{1} << 31) + 17;
  const int last = world.size() - 1;
  std::vector<int64_t> send_counts(static_cast<size_t>(world.size())), receive_counts = send_counts;
  if (world.rank() == 0) send_counts.back() = count;
  if (world.rank() == last) receive_counts.front() = count;
  const Tensor send = Tensor::empty({world.rank() == 0 ? count : 0}, DType::u8, stream);
  const Tensor room = Tensor::empty({world.rank() == last ? count : 0}, DType::u8, stream);
  const auto value = [](int64_t i) { return static_cast<uint8_t>(i % 251); };
  for (int64_t i = 0; i < send.count(); ++i) send.data<uint8_t>()[i] = value(i);
  const Tensor received = world.all_to_all(send, send_counts, room, receive_counts, stream).wait(stream);
  int64_t right = 0;
  while (right < received.count() && received.data<uint8_t>()[right] == value(right)) ++right;
  EXPECT_EQ(right, received.count()) << "elements arrived as they were sent";
}

}  // namespace tessera
