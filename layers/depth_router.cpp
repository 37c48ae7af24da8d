#include "layers/depth_router.h"

#include "layers/row_choice.h"

namespace tessera {

DepthRouting DepthRouter::operator()(const Var& x, const Rows& rows) {
  DepthRouting depth;
  LayerRouting& chosen = depth.chosen;
  chosen.scores = sigmoid(matmul_f32(x, router));
  if (rows.replay) {
    chosen.routing = rows.replay->depths.at(layer).chosen.routing;
  } else {
    const RouterColumns columns{.capacity = config.depth_capacity_of(layer),
                                .name = str(layer, "/depth"),
                                .labels = {str(layer, "/depth")}};
    const RouterInputs inputs{x, chosen.scores, auxiliary ? &*auxiliary : nullptr};
    const RowChoice choice = choose_rows(inputs, rows.all, columns, config.routing_pool, rows);
    chosen.routing = make_routing(choice.index, {0, choice.index.count()}, rows.tokens.count());
  }
  const Tensor& index = chosen.routing.index;
  chosen.gates = pick(chosen.scores, index, std::vector<int64_t>{0, index.count()});
  depth.rows = select_rows(rows, chosen.routing);
  if (rows.record) rows.record->depths[layer] = depth;
  return depth;
}

}  // namespace tessera
