#include "autograd/parameter.h"

#include "kernels/pointwise.h"

namespace tessera {

void Parameter::add_grad(const Tensor& gradient) {
  TESSERA_CHECK(grad, name, ": backward wrote a gradient but its shard group has made no room for it");
  TESSERA_CHECK(gradient.dtype() == DType::f32 && gradient.shape() == grad.shape(), name,
                ": gradient must be f32 ", grad.shape(), ", got ", gradient.dtype(), " ", gradient.shape());
  TESSERA_CHECK(sums.empty() || !has_grad, name, ": a second gradient, but the first was added to sums");
  if (sums.empty()) {
    if (has_grad)
      kernels::add(grad, gradient, grad, grad.stream());
    else
      copy(gradient, grad);
  } else if (!room_taken) {  // else the rule of its only use has added it
    Tensor added = gradient;
    for (const Tensor& sum : sums) {
      kernels::add(sum, added, sum, sum.stream());
      added = sum;
    }
  }
  has_grad = true;
}

Parameter::operator Var() {
  TESSERA_CHECK(!name.empty(), "a parameter of shape ", shape,
                " is used but missing from its layer's fields()");
  TESSERA_CHECK(value, name, ": used outside its shard group");
  return trained && Tape::active() ? Tape::active()->leaf(*this) : Var(value);
}

}  // namespace tessera
