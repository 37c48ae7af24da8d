#pragma once
// A learned tensor.

#include <string>
#include <utility>
#include <vector>

#include "autograd/tape.h"

namespace tessera {

/// How a parameter starts.
enum class Init : uint8_t { normal, zeros, ones };

struct Parameter {
  std::string name;  ///< dotted path, e.g. "blocks.3.attention.wq"; set by name_parameters
  Shape shape;
  Init init = Init::normal;
  bool by_expert = false;  ///< the first dimension counts experts, which may be dealt to ranks
  Tensor
      value;  ///< the compute copy, f32 or bf16; whole (or whole for the experts dealt to this rank) while its shard
              ///< group is in use
  Tensor grad;  ///< f32, value's shape; set by the shard group, written by backward
  bool trained =
      true;      ///< else a constant: nothing is recorded for its sake, and optimizers leave it as it is
  int uses = 0;  ///< as an input of recorded functions; the shard group starts the count
  /// Of earlier micro-batches, like grad, which is the last of them: the gradient of the parameter's only use is added to them, one
  /// after the other.
  std::vector<Tensor> sums{};
  bool has_grad = false;    ///< backward has written grad, or added to it
  bool room_taken = false;  ///< a rule writes its gradient to grad, or has done so
  /// With experts dealt to ranks: itself again for the rows of a second, third, ... micro-batch, each with a gradient of its own,
  /// since the canonical sum adds gradients micro-batch by micro-batch.  Set by the shard group.
  std::vector<Parameter> again{};

  Parameter() = default;
  explicit Parameter(Shape sizes, Init start = Init::normal) : shape(sizes), init(start) {}

  Parameter& of_leaf(size_t i) { return i == 0 ? *this : again.at(i - 1); }

  /// Norm weights and biases are vectors and are not decayed.
  bool decays() const { return shape.rank() > 1; }

  /// grad for the first rule that asks while no gradient is in it, an empty handle for others, and for those that cannot add where
  /// one must.
  Tensor take_room(bool can_add) {
    if (has_grad || (!sums.empty() && !can_add)) return Tensor();
    return std::exchange(room_taken, true) ? Tensor() : grad;
  }

  /// Adds to grad, or sets it the first time; gradient may be grad itself then.  Throws Error when there is no room for it, and for
  /// a second gradient where the first was added to sums.
  void add_grad(const Tensor& gradient);

  /// The parameter as an input of differentiable functions.  Throws Error when it has no name (it is missing
  /// from its layer's fields()) or no value (its shard group is not in use).
  operator Var();  // NOLINT(google-explicit-constructor)
};

}  // namespace tessera
