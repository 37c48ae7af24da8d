#include "autograd/at_once.h"

#include <utility>

namespace tessera {

Loss at_once(const Var& x, const std::function<Loss(const Var&)>& end) {
  Tape* const tape = Tape::active();
  if (!tape) return end(x);
  Tensor dx;
  Loss loss;
  {
    Tape inner = Tape::again();
    loss = end(x.tracked() ? inner.leaf(x.value(), [&dx](Tensor gradient) { dx = std::move(gradient); })
                           : Var(x.value()));
    tape->ledger().add(inner.ledger());
    if (loss.total.tracked()) inner.backward(loss.total);
  }
  const Var total =
      tape->record("at_once", loss.total.value(), {{x, [dx](const Tensor&) { return dx; }}}, {});
  return {total, loss.nll, loss.log_sum};
}

}  // namespace tessera
