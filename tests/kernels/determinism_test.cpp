// Every kernel gives the same bits for any number of threads and any instruction-set level, stays inside its outputs,
// and gives a row the same bits wherever the row lies.  Attention and matrix products have tests of their own.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/binary_cross_entropy.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/nearest_code.h"
#include "kernels/permute.h"
#include "kernels/pointwise.h"
#include "kernels/qk_norm.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/squared_error.h"
#include "kernels/swiglu.h"
#include "tests/kernels/tensors.h"

namespace tessera::kernels {
namespace {

struct Rows {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};

/// One kernel at some width, run on a range of kRows rows of inputs that are always the same.
struct Run {
  int64_t width;
  DType dtype;
  Rows rows;
  Stream stream;
  Outputs& out;

  Tensor input(const char* name, double largest = 2) const {
    return rows_of(uniform_tensor(name, {kRows, width}, dtype, stream, largest), rows.begin, rows.end);
  }
  Tensor vector(const char* name) const { return uniform_tensor(name, {width}, dtype, stream); }
  Tensor output() const { return out.make({rows.count(), width}, dtype); }
  Tensor table(int64_t head_dim) const {
    return rows_of(uniform_tensor("table", {kRows, head_dim}, DType::f32, stream), rows.begin, rows.end);
  }
  Tensor numbers(const char* name, int64_t least, int64_t bound) const {
    std::vector<int32_t> values;
    for (int64_t row = rows.begin; row < rows.end; ++row)
      values.push_back(static_cast<int32_t>(least + random_below(1, Purpose(name), row, bound - least)));
    return Tensor::from(values, {rows.count()}, stream);
  }

  static constexpr int64_t kRows = 1031;  // a prime above several tasks of any width below
};

struct Kernel {
  std::string name;
  std::function<void(const Run&)>
      run;                 ///< makes its outputs in run.out, those with one row per input row first
  size_t row_outputs = 1;  ///< how many those are
};

void rms_norms(std::vector<Kernel>& all) {
  all.push_back({"rms_norm_forward",
                 [](const Run& r) {
                   const Tensor y = r.output(), inverse = r.out.make({r.rows.count()}, DType::f32);
                   rms_norm_forward(r.input("x"), r.vector("weight"), Tensor(), y, inverse, 1e-5f, r.stream);
                 },
                 2});
  all.push_back({"rms_norm_forward onto its residual",
                 [](const Run& r) {
                   const Tensor y = r.out.make_like(r.input("residual")),
                                inverse = r.out.make({r.rows.count()}, DType::f32);
                   rms_norm_forward(r.input("x"), r.vector("weight"), y, y, inverse, 1e-5f, r.stream);
                 },
                 2});
  all.push_back(
      {"rms_norm_backward", [](const Run& r) {
         const Tensor dx = r.output(), dweight = r.out.make({r.width}, DType::f32);
         const Tensor inverse =
             rows_of(uniform_tensor("inverse", {Run::kRows}, DType::f32, r.stream), r.rows.begin, r.rows.end);
         rms_norm_backward(r.input("x"), r.vector("weight"), inverse, r.input("dy"), dx, dweight, r.stream);
       }});
}

/// Of sizes of their own: heads in twos, fours and eights, some left over, and none of the constant numbers of columns.
void qk_norms(std::vector<Kernel>& all) {
  for (const auto& [heads, head_dim] :
       std::vector<std::pair<int64_t, int64_t>>{{2, 2}, {3, 34}, {15, 32}, {7, 64}, {5, 128}, {1, 130}}) {
    const auto input = [=](const Run& r, const char* name) {
      return rows_of(uniform_tensor(name, {Run::kRows, heads, head_dim}, r.dtype, r.stream), r.rows.begin,
                     r.rows.end);
    };
    const auto vector = [=](const Run& r, const char* name) {
      return uniform_tensor(name, {head_dim}, r.dtype, r.stream);
    };
    all.push_back({str("qk_norm_forward of ", heads, "x", head_dim),
                   [=](const Run& r) {
                     const Tensor y = r.out.make({r.rows.count(), heads, head_dim}, r.dtype);
                     const Tensor statistics = r.out.make({r.rows.count(), heads, 2}, DType::f32);
                     qk_norm_forward({input(r, "x"), vector(r, "weight"), vector(r, "bias"),
                                      r.table(head_dim), y, statistics.reshape({r.rows.count() * heads, 2})},
                                     1e-5f, r.stream);
                   },
                   2});
    all.push_back({str("qk_norm_backward of ", heads, "x", head_dim), [=](const Run& r) {
                     const Tensor dx = r.out.make({r.rows.count(), heads, head_dim}, r.dtype);
                     const Tensor dweight = r.out.make({head_dim}, DType::f32),
                                  dbias = r.out.make({head_dim}, DType::f32);
                     const Tensor statistics =
                         rows_of(uniform_tensor("statistics", {Run::kRows, heads, 2}, DType::f32, r.stream),
                                 r.rows.begin, r.rows.end);
                     qk_norm_backward({input(r, "x"), vector(r, "weight"), r.table(head_dim),
                                       statistics.reshape({r.rows.count() * heads, 2}), input(r, "dy"), dx,
                                       dweight, dbias},
                                      r.stream);
                   }});
  }
}

void pointwise(std::vector<Kernel>& all) {
  all.push_back({"add", [](const Run& r) { add(r.input("a"), r.input("b"), r.output(), r.stream); }});
  all.push_back(
      {"subtract", [](const Run& r) { subtract(r.input("a"), r.input("b"), r.output(), r.stream); }});
  all.push_back({"negate", [](const Run& r) { negate(r.input("x"), r.output(), r.stream); }});
  all.push_back({"cast to f32", [](const Run& r) {
                   cast(r.input("x"), r.out.make({r.rows.count(), r.width}, DType::f32), r.stream);
                 }});
  all.push_back({"cast to bf16", [](const Run& r) {
                   cast(r.input("x"), r.out.make({r.rows.count(), r.width}, DType::bf16), r.stream);
                 }});
  all.push_back(
      {"sigmoid_forward", [](const Run& r) { sigmoid_forward(r.input("x", 100), r.output(), r.stream); }});
  all.push_back({"sigmoid_backward",
                 [](const Run& r) { sigmoid_backward(r.input("y"), r.input("dy"), r.output(), r.stream); }});
  all.push_back(
      {"silu_forward", [](const Run& r) { silu_forward(r.input("x", 100), r.output(), r.stream); }});
  all.push_back({"silu_backward",
                 [](const Run& r) { silu_backward(r.input("x", 20), r.input("dy"), r.output(), r.stream); }});
  all.push_back({"swiglu_forward", [](const Run& r) {
                   swiglu_forward(r.input("gate", 20), r.input("up"), r.output(), r.stream);
                 }});
  all.push_back({"swiglu_backward",
                 [](const Run& r) {
                   const Tensor dgate = r.output(), dup = r.output();
                   swiglu_backward(r.input("gate", 20), r.input("up"), r.input("dy"), dgate, dup, r.stream);
                 },
                 2});
  all.push_back(
      {"adamw",
       [](const Run& r) {
         const Shape shape{Run::kRows, r.width};
         const auto part = [&](const char* name) {
           return r.out.make_like(
               rows_of(uniform_tensor(name, shape, DType::f32, r.stream), r.rows.begin, r.rows.end));
         };
         const Tensor value = part("value"), first = part("first"), second = part("second");
         for (float& square : second.values<float>()) square *= square;
         const AdamWOptions options{
             .rate = 1e-3f, .decay = 0.1f, .correction1 = 10, .correction2 = 20, .grad_scale = 0.7f};
         const Tensor rounded = r.out.make(value.shape(), DType::bf16);
         adamw(value, part("grad"), first, second, rounded, options, r.stream);
       },
       5});
}

void rows_by_index(std::vector<Kernel>& all) {
  all.push_back({"embedding_forward", [](const Run& r) {
                   const Tensor table = uniform_tensor("table", {300, r.width}, r.dtype, r.stream);
                   embedding_forward(r.numbers("ids", 0, 300), table, r.output(), r.stream);
                 }});
  all.push_back({"embedding_backward",
                 [](const Run& r) {
                   const Tensor dtable = r.out.make({300, r.width}, DType::f32);
                   embedding_backward(r.numbers("ids", 0, 250), r.input("dy"), dtable, r.stream);
                 },
                 0});
  all.push_back({"gather", [](const Run& r) {
                   const Tensor x = uniform_tensor("x", {300, r.width}, r.dtype, r.stream);
                   gather(x, r.numbers("index", 0, 300), r.output(), r.stream);
                 }});
  all.push_back({"store_rows",
                 [](const Run& r) {
                   std::vector<int32_t> index;
                   for (int64_t row = r.rows.begin; row < r.rows.end; ++row)
                     index.push_back(
                         static_cast<int32_t>(7 * row % 1500));  // distinct: 7 does not divide 1500
                   store_rows(r.input("x"), Tensor::from(index, {r.rows.count()}, r.stream),
                              r.out.make({1500, r.width}, r.dtype), r.stream);
                 },
                 0});
  all.push_back({"combine",
                 [](const Run& r) {
                   const int64_t slots = r.rows.count(), rows = slots / 2 + 1;
                   const Tensor offsets = r.out.make({rows + 1}, DType::i32),
                                order = r.out.make({slots}, DType::i32);
                   const Tensor y = r.out.make({rows, r.width}, r.dtype),
                                ungated = r.out.make({rows, r.width}, r.dtype);
                   invert(r.numbers("index", 0, rows), offsets, order, r.stream);
                   const Tensor gates = uniform_tensor("gates", {slots}, DType::f32, r.stream);
                   combine(r.input("x"), gates, {offsets, order}, y, r.stream);
                   combine(r.input("x"), Tensor(), {offsets, order}, ungated, r.stream);
                 },
                 0});
  all.push_back(
      {"combine_backward",
       [](const Run& r) {
         const Tensor dy = uniform_tensor("dy", {300, r.width}, r.dtype, r.stream), dx = r.output();
         const Tensor dgates = r.out.make({r.rows.count()}, DType::f32);
         const Tensor gates =
             rows_of(uniform_tensor("gates", {Run::kRows}, DType::f32, r.stream), r.rows.begin, r.rows.end);
         combine_backward({r.input("x"), gates, r.numbers("index", 0, 300), dy, dx, dgates}, r.stream);
       },
       2});
}

void rotations(std::vector<Kernel>& all) {
  all.push_back({"rope_table", [](const Run& r) {
                   rope_table(r.numbers("positions", 0, 1000000),
                              r.out.make({r.rows.count(), r.width}, DType::f32), 1e4, r.stream);
                 }});
  all.push_back({"rope_forward", [](const Run& r) {
                   const Shape shape{r.rows.count(), 1, r.width};
                   rope_forward(r.input("x").reshape(shape), r.table(r.width), r.output().reshape(shape),
                                r.stream);
                 }});
  all.push_back({"rope_backward", [](const Run& r) {
                   const Shape shape{r.rows.count(), r.width / 2, 2};
                   rope_backward(r.input("dy").reshape(shape), r.table(2), r.output().reshape(shape),
                                 r.stream);
                 }});
}

void losses(std::vector<Kernel>& all) {
  all.push_back({"cross_entropy_forward",
                 [](const Run& r) {
                   const Tensor logits =
                       rows_of(uniform_tensor("x", {Run::kRows, r.width}, DType::f32, r.stream, 9),
                               r.rows.begin, r.rows.end);
                   const Tensor nll = r.out.make({r.rows.count()}, DType::f32),
                                log_sum = r.out.make({r.rows.count()}, DType::f32);
                   cross_entropy_forward(logits, r.numbers("targets", -1, r.width), nll, log_sum, r.stream);
                 },
                 2});
  all.push_back(
      {"cross_entropy_backward", [](const Run& r) {
         const Tensor logits = r.out.make_like(rows_of(
             uniform_tensor("x", {Run::kRows, r.width}, DType::f32, r.stream, 9), r.rows.begin, r.rows.end));
         const Tensor log_sum = rows_of(uniform_tensor("log_sum", {Run::kRows}, DType::f32, r.stream, 9),
                                        r.rows.begin, r.rows.end);
         cross_entropy_backward(logits, r.numbers("targets", -1, r.width), log_sum, {0.01f, 1e-3f}, r.stream);
       }});
}

void binary_losses(std::vector<Kernel>& all) {
  struct Predictions {
    Tensor logits, targets;
  };
  const auto draw = [](const Run& r) {
    std::vector<uint8_t> targets;
    const Tensor ones = r.numbers("targets", 0, 2);
    for (const int32_t one : ones.values<int32_t>())
      targets.insert(targets.end(), static_cast<size_t>(r.width), static_cast<uint8_t>(one));
    const Tensor logits = uniform_tensor("x", {Run::kRows, r.width}, DType::f32, r.stream, 30);
    return Predictions{rows_of(logits, r.rows.begin, r.rows.end),
                       Tensor::from(targets, {r.rows.count(), r.width}, r.stream)};
  };
  all.push_back({"binary_cross_entropy_forward",
                 [=](const Run& r) {
                   const auto [logits, targets] = draw(r);
                   binary_cross_entropy_forward(logits, targets, r.out.make({1}, DType::f32), 0.01f,
                                                r.stream);
                 },
                 0});
  all.push_back({"binary_cross_entropy_backward", [=](const Run& r) {
                   const auto [logits, targets] = draw(r);
                   const Tensor dtotal = uniform_tensor("dtotal", {1}, DType::f32, r.stream);
                   binary_cross_entropy_backward(logits, targets, dtotal,
                                                 r.out.make(logits.shape(), DType::f32), 0.01f, r.stream);
                 }});
}

void quantisation(std::vector<Kernel>& all) {
  const auto rows = [](const Run& r, const char* name) {
    return rows_of(uniform_tensor(name, {Run::kRows, r.width}, DType::f32, r.stream), r.rows.begin,
                   r.rows.end);
  };
  all.push_back({"nearest_code", [=](const Run& r) {
                   nearest_code(rows(r, "x"), uniform_tensor("codes", {77, r.width}, DType::f32, r.stream),
                                r.out.make({r.rows.count()}, DType::i32), r.stream);
                 }});
  all.push_back({"squared_error_forward", [=](const Run& r) {
                   squared_error_forward(rows(r, "x"), rows(r, "target"),
                                         r.out.make({r.rows.count()}, DType::f32), r.stream);
                 }});
  all.push_back({"squared_error_backward", [=](const Run& r) {
                   const Tensor dtotal = Tensor::from(std::vector{0.7f}, {1}, r.stream);
                   squared_error_backward({rows(r, "x"), rows(r, "target"), dtotal,
                                           r.out.make({r.rows.count(), r.width}, DType::f32)},
                                          0.1f, r.stream);
                 }});
}

std::vector<Kernel> kernels() {
  std::vector<Kernel> all;
  rms_norms(all);
  qk_norms(all);
  pointwise(all);
  rows_by_index(all);
  rotations(all);
  losses(all);
  binary_losses(all);
  quantisation(all);
  return all;
}

std::vector<Tensor> outputs_of(const Kernel& kernel, int64_t width, DType dtype, Rows rows, Stream stream) {
  Outputs out(stream);
  kernel.run({width, dtype, rows, stream, out});
  out.expect_intact(kernel.name);
  return out.all();
}

constexpr Rows kAll{0, Run::kRows};
constexpr int64_t kWidths[] = {2, 34, 130};  // even, for rotations

TEST(Determinism, BitsDoNotDependOnThreadsAndLevel) {
  CpuEngine plain(1, Isa::avx2);
  std::vector<std::pair<Isa, int>> ways = {{Isa::avx2, 2}};
  for (const Isa isa : all_levels()) {
    ways.emplace_back(isa, 1);
    ways.emplace_back(isa, 3);
  }
  for (const Kernel& kernel : kernels())
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const int64_t width : kWidths) {
        const std::vector<Tensor> expected = outputs_of(kernel, width, dtype, kAll, plain.stream());
        for (const auto& [isa, threads] : ways) {
          CpuEngine engine(threads, isa);
          const std::vector<Tensor> actual = outputs_of(kernel, width, dtype, kAll, engine.stream());
          ASSERT_EQ(actual.size(), expected.size());
          for (size_t i = 0; i < expected.size(); ++i)
            ASSERT_TRUE(same_bits(actual[i], expected[i]))
                << kernel.name << ", width " << width << ", " << dtype << ", " << threads << " threads, "
                << name_of(isa) << ", output " << i;
        }
      }
}

TEST(Determinism, BitsOfARowDoNotDependOnItsPlace) {
  for (const Isa isa : all_levels()) {
    CpuEngine engine(1, isa);
    for (const Kernel& kernel : kernels())
      for (const DType dtype : {DType::f32, DType::bf16})
        for (const int64_t width : kWidths) {
          const std::vector<Tensor> whole = outputs_of(kernel, width, dtype, kAll, engine.stream());
          for (const Rows rows : {Rows{0, 1}, Rows{7, 20}, Rows{Run::kRows - 3, Run::kRows}}) {
            const std::vector<Tensor> part = outputs_of(kernel, width, dtype, rows, engine.stream());
            for (size_t i = 0; i < kernel.row_outputs; ++i)
              ASSERT_TRUE(same_bits(part[i], rows_of(whole[i], rows.begin, rows.end)))
                  << kernel.name << ", width " << width << ", " << dtype << ", rows " << rows.begin << " to "
                  << rows.end;
          }
        }
  }
}

TEST(Determinism, NothingForNoRows) {
  CpuEngine engine(2);
  for (const Kernel& kernel : kernels())
    for (const DType dtype : {DType::f32, DType::bf16})
      outputs_of(kernel, 34, dtype, {5, 5}, engine.stream());
}

}  // namespace
}  // namespace tessera::kernels
