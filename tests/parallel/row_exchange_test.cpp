#include "parallel/row_exchange.h"

#include <gtest/gtest.h>

#include "autograd/functions.h"
#include "runtime/cpu_engine.h"
#include "tests/support/late.h"

namespace tessera {
namespace {

constexpr int64_t kWidth = 3;

/// Rank r sends r + to rows to rank `to`, none to rank 1.
int64_t rows_between(int from, int to) { return to == 1 ? 0 : from + to; }

RowCounts counts_of(const Communicator& world) {
  RowCounts counts;
  for (int rank = 0; rank < world.size(); ++rank) {
    counts.send.push_back(rows_between(world.rank(), rank));
    counts.receive.push_back(rows_between(rank, world.rank()));
  }
  return counts;
}

/// The j-th row for a rank has the number 100 from + 10 to + j in all columns.
std::vector<float> rows_of(int from, int to) {
  std::vector<float> values;
  for (int64_t j = 0; j < rows_between(from, to); ++j)
    values.insert(values.end(), kWidth, static_cast<float>(100 * from + 10 * to + j));
  return values;
}

TEST(RowExchange, RowsGoThereAndTheirGradientsComeBack) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (int ranks : {1, 2, 3, 4}) {
      run_ranks(ranks, [dtype](Communicator& world) {
        CpuEngine engine;
        const Stream stream = engine.stream();
        const std::unique_ptr<Communicator> careful = late(checked(world));
        std::vector<float> sent, expected;
        for (int rank = 0; rank < world.size(); ++rank) {
          for (float value : rows_of(world.rank(), rank)) sent.push_back(value);
          for (float value : rows_of(rank, world.rank())) expected.push_back(value);
        }
        const auto tensor = [&](const std::vector<float>& values) {
          return cast(Tensor::from(values, {std::ssize(values) / kWidth, kWidth}, stream), dtype).value();
        };
        const auto values = [](const Tensor& rows) {
          return cast(rows, DType::f32).value().to_vector<float>();
        };
        Tape tape;
        Tensor gradient;
        const Var x = tape.leaf(tensor(sent), [&](Tensor dx) { gradient = std::move(dx); });
        // Two at a time, as two groups of experts do.
        RowExchange first(RowExchange::kDispatch, "experts", x, *careful, counts_of(world));
        RowExchange second(RowExchange::kCombine, "experts", x, *careful, counts_of(world));
        const Var arrived = std::move(first).wait(), again = std::move(second).wait();
        EXPECT_EQ(values(arrived.value()), values(tensor(expected)));
        EXPECT_EQ(values(again.value()), values(tensor(expected)));
        tape.backward(add(arrived, again), tensor(expected));
        std::vector<float> twice;
        for (float value : values(tensor(sent))) twice.push_back(2 * value);
        EXPECT_EQ(values(gradient), values(tensor(twice)));
        EXPECT_EQ(gradient.dtype(), dtype);
      });
    }
}

TEST(RowExchange, WithoutATapeRowsAreConstants) {
  run_ranks(2, [](Communicator& world) {
    CpuEngine engine;
    const RowCounts counts = counts_of(world);
    const Var x = Tensor::zeros({counts.send[0] + counts.send[1], kWidth}, DType::f32, engine.stream());
    const Var y = RowExchange(RowExchange::kDispatch, "experts", x, world, counts).wait();
    EXPECT_FALSE(y.tracked());
    EXPECT_EQ(y.shape(), (Shape{counts.receive[0] + counts.receive[1], kWidth}));
  });
}

}  // namespace
}  // namespace tessera
