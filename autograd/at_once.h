#pragma once
// The end of a forward pass whose backward runs at once, so that nothing that it saves outlives it.

#include <functional>

#include "autograd/functions.h"

namespace tessera {

/// end(x), and all gradients of its total: those of parameters are formed before this returns and must have room by then; backward
/// starts at the total and hands on that of x.  What end uses, nothing else does.  Without a tape just end(x).
Loss at_once(const Var& x, const std::function<Loss(const Var& x)>& end);

}  // namespace tessera
