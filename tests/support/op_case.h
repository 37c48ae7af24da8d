#pragma once
// The table of differentiable functions: each entry is a function, some inputs, and the truth.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autograd/functions.h"
#include "tests/support/close.h"

namespace tessera {

struct Operand {
  Shape shape;
  Roundings gradient{};
  bool always_f32 = false;      ///< also when the case runs in bf16
  double least = -2, most = 2;  ///< of the uniform values
  bool rounds_inside =
      false;  ///< a gradient in f32 whose terms are rounded to bf16 when the case runs in bf16
};

struct OpCase {
  std::string name;  ///< "swiglu/31x33"
  std::vector<Operand> inputs;
  std::function<Var(std::span<const Var>)> op;
  std::function<Values(std::span<const Values>)> reference;  ///< double, tests/support/reference.h
  Roundings forward{};
  enum class Output : uint8_t {
    differentiable,
    constant,  ///< without a gradient
    loss,      ///< backward starts here
  } output = Output::differentiable;

  /// In f32 alone when all inputs are f32 always.
  std::vector<DType> dtypes() const;
};

/// Every function of autograd/functions.h, and the kernels that decoding calls without one, at plain and awkward sizes.
std::vector<OpCase> op_cases();

}  // namespace tessera
