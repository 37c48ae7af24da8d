// Rules of moving rows to experts and back.
#include "autograd/functions.h"
#include "kernels/expert_choice.h"
#include "kernels/permute.h"
#include "kernels/random_fill.h"

namespace tessera {

Tensor logistic_noise(Shape shape, uint64_t seed, Purpose purpose, Stream stream) {
  Tensor noise = Tensor::empty(shape, DType::f32, stream);
  kernels::fill_logistic(noise, {.seed = seed, .purpose = purpose}, stream);
  return noise;
}

Routing make_routing(Tensor index, std::vector<int64_t> offsets, int64_t rows) {
  TESSERA_CHECK(!offsets.empty() && offsets.back() == index.count(), "make_routing: offsets must end at the ",
                index.count(), " slots");
  const Stream stream = index.stream();
  Routing routing{index, std::move(offsets), Tensor::empty({rows + 1}, DType::i32, stream),
                  Tensor::empty({index.count()}, DType::i32, stream)};
  kernels::invert(index, routing.row_offsets, routing.row_slots, stream);
  return routing;
}

Var gather(const Var& x, const Routing& routing) {
  const Stream stream = x.stream();
  Tensor y = Tensor::empty({routing.index.count(), x.shape()[1]}, x.dtype(), stream);
  kernels::gather(x.value(), routing.index, y, stream);
  const kernels::RowSlots of_row{routing.row_offsets, routing.row_slots};
  return record("gather", y,
                {{x,
                  [of_row, shape = x.shape(), stream](const Tensor& dy) {
                    Tensor dx = Tensor::empty(shape, dy.dtype(), stream);
                    kernels::combine(dy, Tensor(), of_row, dx, stream);
                    return dx;
                  }}},
                {.bytes = 2 * y.bytes()});
}

Var pick(const Var& x, const Tensor& index, std::span<const int64_t> columns) {
  const Stream stream = x.stream();
  Tensor y = Tensor::empty({index.count()}, DType::f32, stream);
  kernels::pick(x.value(), index, columns, y, stream);
  return record("pick", y,
                {{x,
                  [index, kept = std::vector<int64_t>(columns.begin(), columns.end()), shape = x.shape(),
                   stream](const Tensor& dy) {
                    Tensor dx = Tensor::empty(shape, DType::f32, stream);
                    kernels::pick_backward(dy, index, kept, dx, stream);
                    return dx;
                  }}},
                {.bytes = 2 * y.bytes()});
}

Var combine(const Var& slots, const Var& gates, const Routing& routing) {
  const Stream stream = slots.stream();
  const Tensor& index = routing.index;
  Tensor y = Tensor::empty({routing.row_offsets.count() - 1, slots.shape()[1]}, slots.dtype(), stream);
  kernels::combine(slots.value(), gates.value(), {routing.row_offsets, routing.row_slots}, y, stream);
  const Cost cost{.bytes = slots.value().bytes() + y.bytes()};
  if (!gates.value()) {
    return record("combine", y,
                  {{slots,
                    [index, shape = slots.shape(), stream](const Tensor& dy) {
                      Tensor dslots = Tensor::empty(shape, dy.dtype(), stream);
                      kernels::gather(dy, index, dslots, stream);
                      return dslots;
                    }}},
                  cost);
  }
  return record(
      "combine", y, {slots, gates},
      [slots = slots.value(), gates = gates.value(), index, stream](const Tensor& dy) {
        Tensor dslots = Tensor::like(slots), dgates = Tensor::like(gates);
        kernels::combine_backward({slots, gates, index, dy, dslots, dgates}, stream);
        return std::vector<Tensor>{dslots, dgates};
      },
      cost);
}

Tensor choose_experts(const Var& scores, const Tensor& candidates, const ExpertChoice& choice) {
  int64_t slots = 0;
  for (int64_t count : choice.counts) slots += count;
  Tensor chosen = Tensor::empty({choice.experts, slots}, DType::i32, scores.stream());
  kernels::expert_choice(scores.value(), candidates, chosen, {choice.column, choice.pools, choice.counts},
                         scores.stream());
  return chosen;
}

}  // namespace tessera
