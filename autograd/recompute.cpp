#include "autograd/recompute.h"

#include "autograd/functions.h"

namespace tessera {

Var segment_of(const Var& x, bool again, const Segment& segment) {
  Tape* tape = Tape::active();
  const Var in =
      reshape(x, x.shape());  // a node of its own, where the gradients inside the segment are summed
  if (!again || !in.tracked()) return segment(in);
  Tensor y;
  {
    const Tape::Pause pause;
    y = segment(in.value()).value();
  }
  return tape->record(
      "recompute", y,
      {{in,
        [segment, value = in.value(), tape](const Tensor& dy) {
          Tensor dx;
          Tape inner = Tape::again();
          const Var out = segment(inner.leaf(value, [&dx](Tensor gradient) { dx = std::move(gradient); }));
          tape->ledger().add(inner.ledger());
          inner.backward(out, dy);
          return dx;
        }}},
      {});
}

}  // namespace tessera
