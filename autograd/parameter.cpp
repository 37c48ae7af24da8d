#include "autograd/parameter.h"

#include "kernels/pointwise.h"

namespace tessera {

void Parameter::add_grad(const Tensor& gradient) {
  TESSERA_CHECK(grad, name, ": backward wrote a gradient but its shard group has made no room for it");
  TESSERA_CHECK(gradient.dtype() == DType::f32 && gradient.shape() == grad.shape(), name,
                ": gradient must be f32 ", grad.shape(), ", got ", gradient.dtype(), " ", gradient.shape());
  TESSERA_CHECK(!adds || !has_grad, name, ": a second gradient, but the first was added to a sum");
  const bool added_by_rule = adds && room_taken;  // its only use, so gradient is grad
  if (has_grad || (adds && !added_by_rule))
    kernels::add(grad, gradient, grad, grad.stream());
  else
    copy(gradient, grad);
  has_grad = true;
}

Parameter::operator Var() {
  TESSERA_CHECK(!name.empty(), "a parameter of shape ", shape,
                " is used but missing from its layer's fields()");
  TESSERA_CHECK(value, name, ": used outside its shard group");
  return trained && Tape::active() ? Tape::active()->leaf(*this) : Var(value);
}

}  // namespace tessera
