#include "runtime/tensor.h"

#include <gtest/gtest.h>

#include <numeric>

#include "runtime/cpu_engine.h"
#include "runtime/meta_engine.h"
#include "runtime/stream.h"

namespace tessera {
namespace {

TEST(Shape, CountsAndIndexesFromBothEnds) {
  const Shape shape = {2, 3, 5};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.count(), 30);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 5);
  EXPECT_EQ(shape[-3], 2);
  EXPECT_EQ(str(shape), "[2, 3, 5]");
  EXPECT_EQ(Shape{}.count(), 1);
  EXPECT_EQ((Shape{4, 0}).count(), 0);
  EXPECT_NE(shape, (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
}

TEST(Shape, RefusesWhatIsNoShape) {
  EXPECT_THROW((Shape{1, -1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1}), Error);
  EXPECT_THROW((Shape{1, 2})[2], Error);
  EXPECT_THROW((Shape{1, 2})[-3], Error);
}

TEST(Tensor, CopiesShareStorageAndLikeDoesNot) {
  CpuEngine engine;
  const Tensor a = Tensor::zeros({2, 3}, DType::f32, engine.stream());
  const Tensor b = a, c = Tensor::like(a);
  a.values<float>()[4] = 7;
  EXPECT_EQ(b.values<float>()[4], 7);
  EXPECT_NE(c.data<float>(), a.data<float>());
  EXPECT_EQ(c.shape(), a.shape());
  EXPECT_EQ(c.dtype(), DType::f32);
  EXPECT_EQ(c.stream(), engine.stream());
  EXPECT_EQ(a.bytes(), 24);
}

TEST(Tensor, ViewsSeeTheSameElements) {
  CpuEngine engine;
  std::vector<int32_t> numbers(24);
  std::iota(numbers.begin(), numbers.end(), 0);
  const Tensor whole = Tensor::from(numbers, {4, 6}, engine.stream());
  EXPECT_EQ(whole.reshape({2, 3, 4}).data<int32_t>(), whole.data<int32_t>());
  const Tensor part = whole.slice(6, {2, 6}), inner = part.slice(7, {5});
  EXPECT_EQ(part.values<int32_t>()[0], 6);
  EXPECT_EQ(inner.values<int32_t>()[0], 13);
  EXPECT_EQ(inner.count(), 5);
  EXPECT_EQ(whole.slice(24, {0, 6}).count(), 0);
  EXPECT_THROW(whole.reshape({5, 5}), Error);
  EXPECT_THROW(whole.slice(13, {2, 6}), Error);
  EXPECT_THROW(whole.slice(-1, {1}), Error);
}

TEST(Tensor, ReturnsItsMemoryWithTheLastHandle) {
  CpuEngine engine;
  Tensor view;
  {
    const Tensor whole = Tensor::zeros({100}, DType::bf16, engine.stream());
    view = whole.slice(50, {10});
  }
  EXPECT_GT(engine.memory.statistics().live_bytes, 0);
  EXPECT_EQ(view.values<bf16>()[9], bf16(0.0f));
  view = Tensor();
  EXPECT_EQ(engine.memory.statistics().live_bytes, 0);
}

TEST(Tensor, CanGiveItsMemoryBackAndTakeItAgain) {
  CpuEngine engine;
  const Tensor whole = Tensor::zeros({100}, DType::f32, engine.stream());
  const Tensor view = whole.slice(10, {5});
  whole.discard();
  EXPECT_EQ(engine.memory.statistics().live_bytes, 0);
  EXPECT_THROW(whole.data<float>(), Error);
  EXPECT_THROW(view.data<float>(), Error);
  EXPECT_EQ(view.shape(), Shape{5});
  whole.restore();
  EXPECT_EQ(view.data<float>(), whole.data<float>() + 10);
  EXPECT_GT(engine.memory.statistics().live_bytes, 0);
}

TEST(Tensor, ChecksTypesCountsAndHandles) {
  CpuEngine engine;
  const Tensor tensor = Tensor::zeros({3}, DType::f32, engine.stream());
  EXPECT_THROW(tensor.data<bf16>(), Error);
  EXPECT_THROW(Tensor::from(std::vector<float>{1, 2}, {3}, engine.stream()), Error);
  const Tensor none;
  EXPECT_FALSE(none);
  EXPECT_TRUE(tensor);
  EXPECT_THROW(none.stream(), Error);
  EXPECT_THROW(none.bytes_data(), Error);
}

TEST(Tensor, MetaHasShapesAndNoStorage) {
  const Tensor huge = Tensor::zeros({1 << 20, 1 << 20}, DType::f32, Stream::meta());
  EXPECT_EQ(huge.bytes(), int64_t{1} << 42);
  EXPECT_EQ(huge.slice(5, {7}).shape(), Shape{7});
  EXPECT_THROW(huge.data<float>(), Error);
  EXPECT_EQ(huge.device().backend, Backend::meta);
  EXPECT_THROW(engine_of(huge.stream()), Error);
}

/// An engine of meta counts what a processor's would show, to the byte.
TEST(Tensor, MetaCountsTheMemoryOfAProcessor) {
  CpuEngine cpu;
  MetaEngine meta;
  for (const Stream stream : {cpu.stream(), meta.stream()}) {
    const Tensor kept = Tensor::empty({1000}, DType::f32, stream);
    const Tensor whole = Tensor::zeros({3, 700}, DType::bf16, stream);
    { const Tensor gone = Tensor::like(kept); }
    const Tensor view = whole.slice(5, {7});
    whole.discard();
    whole.discard();
    const Tensor small = Tensor::empty({3}, DType::i32, stream);
    whole.restore();
    whole.restore();
  }
  for (const auto figure : {&MemoryStatistics::live_bytes, &MemoryStatistics::peak_bytes,
                            &MemoryStatistics::held_bytes, &MemoryStatistics::growths})
    EXPECT_EQ(memory_statistics(cpu.stream()).*figure, memory_statistics(meta.stream()).*figure);
  EXPECT_GT(memory_statistics(meta.stream()).peak_bytes, 8000);
  EXPECT_EQ(memory_statistics(meta.stream()).live_bytes, 0);
}

TEST(Tensor, MetaTellsWhatThePeakWasMadeOf) {
  MetaEngine meta;
  Tensor parameters;
  {
    const MemoryFor use(MemoryUse::parameters, meta.stream());
    parameters = Tensor::empty({1000}, DType::f32, meta.stream());
  }
  { const Tensor peak = Tensor::empty({5000}, DType::f32, meta.stream()); }
  const Tensor after = Tensor::empty({100}, DType::f32, meta.stream());
  EXPECT_EQ(meta.at_peak(), (MemoryByUse{Arena::rounded(4000), 0, 0, 0, Arena::rounded(20'000), 0}));
}

TEST(Tensor, LiesOverValuesOfOthers) {
  std::vector<float> values{1, 2, 3};
  const Tensor tensor = Tensor::over(std::span(values));
  EXPECT_EQ(tensor.data<float>(), values.data());
  copy(tensor.slice(0, {1}), tensor.slice(2, {1}));
  EXPECT_EQ(values[2], 1);
  EXPECT_THROW(Tensor::like(tensor), Error);
}

TEST(Tensor, CopyMovesElementsBetweenShapes) {
  CpuEngine engine;
  const Tensor from = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}, engine.stream());
  const Tensor to = Tensor::zeros({6}, DType::f32, engine.stream());
  copy(from, to);
  EXPECT_EQ(to.values<float>()[5], 6);
  copy(to.slice(0, {4}), to.slice(2, {4}));  // overlapping
  EXPECT_EQ(std::vector<float>(to.values<float>().begin(), to.values<float>().end()),
            (std::vector<float>{1, 2, 1, 2, 3, 4}));
  EXPECT_THROW(copy(from, to.slice(0, {5})), Error);
  EXPECT_THROW(copy(from, Tensor::zeros({6}, DType::i32, engine.stream())), Error);
}

}  // namespace
}  // namespace tessera
