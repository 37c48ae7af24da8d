// Rules of functions that work element by element or only move data.
#include "kernels/pointwise.h"

#include <algorithm>

#include "autograd/functions.h"
#include "kernels/embedding.h"
#include "kernels/fill.h"
#include "kernels/swiglu.h"

namespace tessera {

Var embedding(const Tensor& ids, const Var& table) {
  const Stream stream = table.stream();
  Tensor y = Tensor::empty({ids.count(), table.shape()[-1]}, table.dtype(), stream);
  kernels::embedding_forward(ids, table.value(), y, stream);
  return record("embedding", y,
                {{table,
                  [ids, room = GradientRoom(table), stream](const Tensor& dy) {
                    Tensor dtable = room.take();
                    kernels::embedding_backward(ids, dy, dtable, stream);
                    return dtable;
                  }}},
                {.bytes = 2 * y.bytes()});
}

Var swiglu(const Var& gate, const Var& up) {
  const Stream stream = gate.stream();
  Tensor y = Tensor::like(gate.value());
  kernels::swiglu_forward(gate.value(), up.value(), y, stream);
  return record("swiglu", y, {gate, up},
                [gate = gate.value(), up = up.value(), stream](const Tensor& dy) {
                  Tensor dgate = Tensor::like(gate), dup = Tensor::like(up);
                  kernels::swiglu_backward(gate, up, dy, dgate, dup, stream);
                  return std::vector<Tensor>{dgate, dup};
                },
                {.bytes = 3 * y.bytes()});
}

Var add(const Var& a, const Var& b) {
  Tensor y = Tensor::like(a.value());
  kernels::add(a.value(), b.value(), y, a.stream());
  const GradFn pass = [](const Tensor& dy) { return dy; };
  return record("add", y, {{a, pass}, {b, pass}}, {.bytes = 3 * y.bytes()});
}

Var subtract(const Var& a, const Var& b) {
  const Stream stream = a.stream();
  Tensor y = Tensor::like(a.value());
  kernels::subtract(a.value(), b.value(), y, stream);
  return record("subtract", y,
                {{a, [](const Tensor& dy) { return dy; }},
                 {b,
                  [stream](const Tensor& dy) {
                    Tensor db = Tensor::like(dy);
                    kernels::negate(dy, db, stream);
                    return db;
                  }}},
                {.bytes = 3 * y.bytes()});
}

Var cast(const Var& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const Stream stream = x.stream();
  Tensor y = Tensor::empty(x.shape(), dtype, stream);
  kernels::cast(x.value(), y, stream);
  return record("cast", y,
                {{x,
                  [from = x.dtype(), stream](const Tensor& dy) {
                    Tensor dx = Tensor::empty(dy.shape(), from, stream);
                    kernels::cast(dy, dx, stream);
                    return dx;
                  }}},
                {.bytes = x.value().bytes() + y.bytes()});
}

Var sigmoid(const Var& x) {
  const Stream stream = x.stream();
  Tensor y = Tensor::like(x.value());
  kernels::sigmoid_forward(x.value(), y, stream);
  return record("sigmoid", y,
                {{x,
                  [y, stream](const Tensor& dy) {
                    Tensor dx = Tensor::like(dy);
                    kernels::sigmoid_backward(y, dy, dx, stream);
                    return dx;
                  }}},
                {.bytes = 2 * y.bytes()});
}

Var silu(const Var& x) {
  const Stream stream = x.stream();
  Tensor y = Tensor::like(x.value());
  kernels::silu_forward(x.value(), y, stream);
  return record("silu", y,
                {{x,
                  [x = x.value(), stream](const Tensor& dy) {
                    Tensor dx = Tensor::like(dy);
                    kernels::silu_backward(x, dy, dx, stream);
                    return dx;
                  }}},
                {.bytes = 2 * y.bytes()});
}

Var reshape(const Var& x, Shape shape) {
  return record("reshape", x.value().reshape(shape),
                {{x, [from = x.shape()](const Tensor& dy) { return dy.reshape(from); }}});
}

Var concat(std::span<const Var> parts) {
  TESSERA_CHECK(!parts.empty(), "concat: expected at least one part, got none");
  int64_t total = 0;
  for (const Var& part : parts) total += part.value().count();
  Tensor y = Tensor::empty({total}, parts[0].dtype(), parts[0].stream());
  std::vector<Wrt> inputs;
  int64_t begin = 0;
  for (const Var& part : parts) {
    const Shape shape = part.shape();
    copy(part.value(), y.slice(begin, shape));
    inputs.push_back({part, [begin, shape](const Tensor& dy) { return dy.slice(begin, shape); }});
    begin += shape.count();
  }
  return record("concat", y, std::move(inputs), {.bytes = 2 * y.bytes()});
}

std::vector<Var> split(const Var& x, RowOffsets offsets) {
  const int64_t width = x.shape()[1];
  std::vector<Tensor> parts;
  for (size_t i = 0; i + 1 < offsets.size(); ++i)
    parts.push_back(x.value().slice(offsets[i] * width, {offsets[i + 1] - offsets[i], width}));
  return record("split", std::move(parts), x,
                [shape = x.shape(), width, kept = std::vector<int64_t>(offsets.begin(), offsets.end())](
                    const std::vector<Tensor>& dys) {
                  if (dys.size() == 1) return dys[0];
                  const Tensor& any = *std::ranges::find_if(dys, [](const Tensor& dy) { return bool(dy); });
                  Tensor dx = Tensor::empty(shape, any.dtype(), any.stream());
                  for (size_t i = 0; i < dys.size(); ++i) {
                    const Tensor room = dx.slice(kept[i] * width, {kept[i + 1] - kept[i], width});
                    if (dys[i])
                      copy(dys[i], room);
                    else
                      kernels::fill(room, 0, any.stream());
                  }
                  return dx;
                });
}

}  // namespace tessera
