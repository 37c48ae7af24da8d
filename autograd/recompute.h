#pragma once
// Segments of a forward pass that run again in backward instead of keeping what they saved.
// Source: Chen et al., Training deep nets with sublinear memory cost (arXiv 1604.06174).

#include <functional>

#include "autograd/tape.h"

namespace tessera {

/// A function of one tracked value; parameters that it uses, and that nothing else uses, get their gradients as usual.
using Segment = std::function<Var(const Var& x)>;

/// segment(x).  With again, only x is kept, and backward runs the segment once more before it goes through it; what it
/// refers to must live until then.  Either way the gradient of x is summed inside the segment first, so that the bits do
/// not depend on again.  Costs are booked once: with again, when backward runs it.
Var segment_of(const Var& x, bool again, const Segment& segment);

}  // namespace tessera
